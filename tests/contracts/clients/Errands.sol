// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Code that an account delegates to, so that it can do several things in one transaction.
contract Errands {
    struct Errand {
        address to;
        uint256 value;
        bytes data;
    }

    event ErrandsRun(address indexed account, uint256 count);

    error NotTheAccount(address caller);
    error ErrandFailed(uint256 index, bytes reason);

    function run(Errand[] calldata errands) external payable {
        if (msg.sender != address(this)) revert NotTheAccount(msg.sender);
        for (uint256 index = 0; index < errands.length; index++) {
            (bool done, bytes memory reason) = errands[index].to.call{value: errands[index].value}(errands[index].data);
            if (!done) revert ErrandFailed(index, reason);
        }
        emit ErrandsRun(address(this), errands.length);
    }

    receive() external payable {}
}
