// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Keeps the coins of one shop.
contract Till {
    address public immutable owner;
    address public shop;
    mapping(address customer => uint256 value) public paidBy;

    event ShopChosen(address indexed shop);
    event Kept(address indexed customer, uint256 value);

    error NotTheOwner(address caller);
    error NotTheShop(address caller);

    constructor() {
        owner = msg.sender;
    }

    function choose(address shop_) external {
        if (msg.sender != owner) revert NotTheOwner(msg.sender);
        shop = shop_;
        emit ShopChosen(shop_);
    }

    function keep(address customer) external payable {
        if (msg.sender != shop) revert NotTheShop(msg.sender);
        paidBy[customer] += msg.value;
        emit Kept(customer, msg.value);
    }
}
