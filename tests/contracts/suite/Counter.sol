// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {TransparentUpgradeableProxy} from "@openzeppelin/contracts/proxy/transparent/TransparentUpgradeableProxy.sol";
import {ProxyAdmin} from "@openzeppelin/contracts/proxy/transparent/ProxyAdmin.sol";

/// @title Counts behind a proxy that it upgrades by itself.
contract Counter is Initializable, UUPSUpgradeable {
    address public owner;
    uint256 public count;

    event Counted(uint256 count);

    error NotTheOwner(address caller);

    constructor() {
        _disableInitializers();
    }

    function initialize(address owner_, uint256 first) external initializer {
        (owner, count) = (owner_, first);
    }

    function step() external virtual {
        emit Counted(++count);
    }

    function _authorizeUpgrade(address) internal view override {
        if (msg.sender != owner) revert NotTheOwner(msg.sender);
    }
}

/// @title The next version: larger steps, and a name that is set while upgrading.
contract CounterTwo is Counter {
    string public name;

    function rename(string calldata name_) external reinitializer(2) {
        name = name_;
    }

    function step() external override {
        count += 10;
        emit Counted(count);
    }
}
