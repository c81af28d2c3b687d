// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {BitAI} from "../lib/BitAI.sol";

/// @title Reads handwritten digits with a neural network, inside the transaction that asks.
/// @notice An image is 64 bytes: 8 rows of 8 pixels, 0 (white) to 16 (black). The model may be of either tier: on-chain
///         (every node computes it) or neuron (a neuron's signed answer is recorded in the block). The code is the same.
contract DigitReader {
    /// What the digit models answer: one byte for the digit, then ten big-endian uint16 probabilities, 32,768 meaning one.
    uint32 private constant ANSWER_BYTES = 21;

    struct Reading {
        uint8 digit;
        uint16 confidence; // of 32,768
        address asker;
        bytes32 modelId;
    }

    Reading[] private readings;

    event DigitRead(
        uint256 indexed readingId, address indexed asker, bytes32 indexed modelId, uint8 digit, uint16 confidence
    );
    event DigitNotRead(address indexed asker, bytes32 indexed modelId, uint8 status);

    error UnexpectedAnswer(uint256 length);

    /// @notice Read an image and store the answer; reverts unless the model answered.
    function read(bytes32 modelId, bytes calldata image) external returns (uint8 digit) {
        return store(modelId, BitAI.infer(modelId, image, ANSWER_BYTES));
    }

    /// @notice As `read`, but an answer that did not come is an event, not a revert.
    /// @return status 0, or why there is no digit (see IInfer)
    function tryRead(bytes32 modelId, bytes calldata image) external returns (uint8 status, uint8 digit) {
        bytes memory answer;
        (status, answer) = BitAI.tryInfer(modelId, image, "", ANSWER_BYTES);
        if (status == BitAI.OK) digit = store(modelId, answer);
        else emit DigitNotRead(msg.sender, modelId, status);
    }

    /// @notice Read an image and store nothing.
    function peek(bytes32 modelId, bytes calldata image) external view returns (uint8 digit, uint16 confidence) {
        return parse(BitAI.infer(modelId, image, ANSWER_BYTES));
    }

    function reading(uint256 readingId) external view returns (Reading memory) {
        return readings[readingId];
    }

    function readingCount() external view returns (uint256) {
        return readings.length;
    }

    function store(bytes32 modelId, bytes memory answer) private returns (uint8 digit) {
        uint16 confidence;
        (digit, confidence) = parse(answer);
        emit DigitRead(readings.length, msg.sender, modelId, digit, confidence);
        readings.push(Reading({digit: digit, confidence: confidence, asker: msg.sender, modelId: modelId}));
    }

    function parse(bytes memory answer) private pure returns (uint8 digit, uint16 confidence) {
        if (answer.length != ANSWER_BYTES) revert UnexpectedAnswer(answer.length);
        digit = uint8(answer[0]);
        uint256 offset = 1 + 2 * uint256(digit);
        confidence = (uint16(uint8(answer[offset])) << 8) | uint16(uint8(answer[offset + 1]));
    }
}
