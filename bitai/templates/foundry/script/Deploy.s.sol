// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {DigitLock} from "../src/DigitLock.sol";
import {vm} from "./Vm.sol";

/// @title Deploys a lock for the digit 7.
contract Deploy {
    function run() external returns (DigitLock lock) {
        vm.startBroadcast(vm.envUint("PRIVATE_KEY"));
        lock = new DigitLock(vm.envBytes32("MODEL_ID"), 7, 20_000);
        vm.stopBroadcast();
    }
}
