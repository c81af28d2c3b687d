// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Till} from "./Till.sol";

/// @title Sells from a shelf; the coins go to the till. What every client of the node is tried on.
contract Shop {
    Till public immutable till;
    mapping(uint256 item => uint256 count) public shelf;
    uint256 public soldCount;

    event Sold(address indexed customer, uint256 indexed item, uint256 count, string note);

    error SoldOut(uint256 item, uint256 wanted, uint256 left);

    constructor(Till till_, uint256 items, uint256 each) {
        till = till_;
        for (uint256 item = 1; item <= items; item++) shelf[item] = each;
    }

    function buy(uint256 item, uint256 count, string calldata note) external payable {
        uint256 left = shelf[item];
        if (left < count) revert SoldOut(item, count, left);
        require(count > 0, "nothing wanted");
        shelf[item] = left - count;
        soldCount += count;
        till.keep{value: msg.value}(msg.sender);
        emit Sold(msg.sender, item, count, note);
    }

    /// Panics with 0x12 for a count of zero.
    function share(uint256 count) external view returns (uint256) {
        return soldCount / count;
    }
}
