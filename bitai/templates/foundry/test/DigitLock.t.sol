// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {BitAI} from "@bitai/contracts/lib/BitAI.sol";
import {RecordedAnswers} from "@bitai/contracts/testing/RecordedAnswers.sol";
import {vm} from "../script/Vm.sol";
import {DigitLock} from "../src/DigitLock.sol";

/// @title The lock, with answers that a node's model really gave: see test/answers.json.
contract DigitLockTest {
    bytes32 private modelId;
    bytes private seven;
    bytes private zero;

    /// Puts the recorded answers where the precompile is on a BitAI chain.
    function setUp() external {
        RecordedAnswers recorded = RecordedAnswers(address(BitAI.PRECOMPILE));
        vm.etch(address(recorded), type(RecordedAnswers).runtimeCode);
        string memory json = vm.readFile("test/answers.json");
        for (uint256 index = 0; vm.keyExistsJson(json, key(index, "")); index++) {
            recorded.record(
                vm.parseJsonBytes32(json, key(index, ".modelId")),
                vm.parseJsonBytes(json, key(index, ".input")),
                vm.parseJsonBytes(json, key(index, ".params")),
                uint32(vm.parseJsonUint(json, key(index, ".maxOutput"))),
                uint8(vm.parseJsonUint(json, key(index, ".status"))),
                vm.parseJsonBytes(json, key(index, ".output"))
            );
        }
        modelId = vm.parseJsonBytes32(json, key(0, ".modelId"));
        seven = vm.parseJsonBytes(json, key(0, ".input"));
        zero = vm.parseJsonBytes(json, key(1, ".input"));
    }

    function testOpensForTheRightDigit() external {
        DigitLock lock = new DigitLock(modelId, 7, 20_000);
        lock.open(seven);
        require(lock.openedBy() == address(this), "opened by this test");
    }

    function testStaysShutForAnotherDigit() external {
        DigitLock lock = new DigitLock(modelId, 7, 20_000);
        vm.expectRevert(abi.encodeWithSelector(DigitLock.WrongDigit.selector, 0, 7));
        lock.open(zero);
    }

    function testStaysShutWhenTheModelIsUnavailable() external {
        bytes memory image = new bytes(64);
        RecordedAnswers(address(BitAI.PRECOMPILE)).record(modelId, image, "", 21, BitAI.UNAVAILABLE, "");
        DigitLock lock = new DigitLock(modelId, 7, 20_000);
        vm.expectRevert(abi.encodeWithSelector(BitAI.NoAnswer.selector, modelId, BitAI.UNAVAILABLE));
        lock.open(image);
    }

    function key(uint256 index, string memory name) private pure returns (string memory) {
        return string.concat("[", vm.toString(index), "]", name);
    }
}
