// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title The cheat codes of Foundry that these scripts use.
interface Vm {
    function envUint(string calldata name) external view returns (uint256);
    function addr(uint256 key) external pure returns (address);
    function startBroadcast(uint256 key) external;
    function stopBroadcast() external;
    function signAndAttachDelegation(address implementation, uint256 key) external;
    function expectRevert(bytes calldata reason) external;
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
