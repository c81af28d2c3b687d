// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IInfer} from "../interfaces/IInfer.sol";

/// @title Answers of models, recorded beforehand: stands in for the precompile on a chain that has no models.
/// @notice For tests in forge, Hardhat and anvil. Put its runtime code at the precompile's address (`vm.etch`,
///         `hardhat_setCode`), then `record` what a node answered (`bitai-record` prints it).
/// @dev Costs ordinary storage gas, not the model's price: measure gas on a node. Unlike the precompile it reverts where
///      nothing was recorded, so that a test never passes on an answer nobody gave.
contract RecordedAnswers is IInfer {
    struct Answer {
        bool known;
        uint8 status;
        bytes output;
    }

    mapping(bytes32 request => Answer) private answers;

    /// @notice Nobody recorded an answer to this request.
    /// @param modelId   which model was asked
    /// @param input     with which input
    /// @param params    and sampling parameters
    /// @param maxOutput and for how long an answer
    error NotRecorded(bytes32 modelId, bytes input, bytes params, uint32 maxOutput);

    /// @notice Answer a request from now on; replaces what was recorded for it before.
    /// @param modelId   the model's id
    /// @param input     the input, byte for byte as the contract will give it
    /// @param params    sampling parameters, or empty
    /// @param maxOutput the longest answer that the contract will pay for
    /// @param status    what the precompile answered: 0 is OK
    /// @param output    the model's output; empty unless status is OK
    function record(
        bytes32 modelId,
        bytes calldata input,
        bytes calldata params,
        uint32 maxOutput,
        uint8 status,
        bytes calldata output
    ) external {
        answers[requestOf(modelId, input, params, maxOutput)] = Answer(true, status, output);
    }

    /// @inheritdoc IInfer
    /// @dev Reverts with `NotRecorded` where nothing was recorded.
    function infer(bytes32 modelId, bytes calldata input, bytes calldata params, uint32 maxOutput)
        external
        view
        returns (uint8 status, bytes memory output)
    {
        Answer storage answer = answers[requestOf(modelId, input, params, maxOutput)];
        if (!answer.known) revert NotRecorded(modelId, input, params, maxOutput);
        return (answer.status, answer.output);
    }

    function requestOf(bytes32 modelId, bytes calldata input, bytes calldata params, uint32 maxOutput)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(modelId, input, params, maxOutput));
    }
}
