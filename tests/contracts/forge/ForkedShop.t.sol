// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Shop} from "src/Shop.sol";
import {vm} from "./Vm.sol";

/// @title What `forge test --fork-url` does with a shop that stands on the node.
contract ForkedShopTest {
    Shop private shop;

    function setUp() external {
        shop = Shop(address(uint160(vm.envUint("SHOP_ADDRESS"))));
    }

    function testTheForkKnowsWhatWasSold() external view {
        require(shop.soldCount() == 8, "8 pieces were sold on the node");
    }

    function testTheForkSells() external {
        shop.buy(9, 2, "on a fork");
        require(shop.shelf(9) == 98, "two less");
        vm.expectRevert(abi.encodeWithSelector(Shop.SoldOut.selector, 9, 99, 98));
        shop.buy(9, 99, "");
    }
}
