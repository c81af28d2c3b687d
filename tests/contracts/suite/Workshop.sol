// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";

/// @title Makes contracts at addresses known beforehand, and clones of them.
contract Workshop {
    event Made(address indexed made, bytes32 salt);

    function make(bytes32 salt, bytes calldata code) external payable returns (address made) {
        made = Create2.deploy(msg.value, salt, code);
        emit Made(made, salt);
    }

    function clone(address of_, bytes32 salt) external returns (address made) {
        made = Clones.cloneDeterministic(of_, salt);
        emit Made(made, salt);
    }

    function addressOf(bytes32 salt, bytes32 codeHash) external view returns (address) {
        return Create2.computeAddress(salt, codeHash);
    }
}
