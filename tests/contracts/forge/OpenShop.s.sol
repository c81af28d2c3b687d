// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Errands} from "src/Errands.sol";
import {Shop} from "src/Shop.sol";
import {Till} from "src/Till.sol";
import {vm} from "./Vm.sol";

/// @title What `forge script --broadcast` sends: the project, then purchases.
contract OpenShop {
    /// Deploys the project, buys, and buys again as an account that delegates to Errands.
    function run() external returns (Till till, Shop shop, Errands errands) {
        uint256 key = vm.envUint("SHOP_KEY");
        vm.startBroadcast(key);
        till = new Till();
        shop = new Shop(till, 9, 100);
        errands = new Errands();
        till.choose(address(shop));
        shop.buy{value: 10}(2, 3, "dynamic fee");
        vm.signAndAttachDelegation(address(errands), key);
        Errands.Errand[] memory list = new Errands.Errand[](1);
        list[0] = Errands.Errand(address(shop), 5, abi.encodeCall(Shop.buy, (3, 4, "set code")));
        Errands(payable(vm.addr(key))).run(list);
        vm.stopBroadcast();
    }

    /// Buys once more; with --legacy as a legacy transaction.
    function buy(Shop shop) external {
        vm.startBroadcast(vm.envUint("SHOP_KEY"));
        shop.buy{value: 10}(1, 1, "legacy");
        vm.stopBroadcast();
    }

    /// Reverts before anything is sent.
    function buyTooMuch(Shop shop) external {
        vm.startBroadcast(vm.envUint("SHOP_KEY"));
        shop.buy(1, 1000, "");
        vm.stopBroadcast();
    }
}
