// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IInfer} from "../interfaces/IInfer.sol";

/// @title Asking a model from a contract.
/// @notice Wraps the inference precompile so that no answer is never mistaken for an answer.
/// @dev A call is paid for in gas before the model is asked: a base, 6 gas for each 32-byte word of `input` and `params`, the
///      model's multiply-accumulates, and for a neuron model the bytes of the record, counted for `maxOutput`. What an answer
///      did not use comes back. With less gas than the price the call runs out of gas and no model is asked;
///      `eth_estimateGas` counts all of it. Works in view functions: the precompile changes no state.
library BitAI {
    /// @notice Where the precompile lives, on every BitAI chain.
    IInfer internal constant PRECOMPILE = IInfer(0x0000000000000000000000000000000000100000);

    /// @notice Status: the model answered.
    uint8 internal constant OK = 0;
    /// @notice Status: the input is not one the model takes (length, range), or its output is longer than `maxOutput`.
    uint8 internal constant BAD_INPUT = 1;
    /// @notice Status: a language model's context is too short for input and answer.
    uint8 internal constant OUT_OF_CONTEXT = 2;
    /// @notice Status: no neuron answers for the model in this transaction.
    /// @dev UNAVAILABLE is failure, never consent. Whoever sends a transaction can bring it about, by forcing the
    ///      transaction in through Bitcoin; so a contract that goes on without an answer lets its caller choose that path.
    uint8 internal constant UNAVAILABLE = 3;
    /// @notice Status: the registry has no such model, or it is switched off.
    uint8 internal constant UNKNOWN_MODEL = 4;

    /// @notice The model gave no answer.
    /// @param modelId which model was asked
    /// @param status  why there is no answer: one of the constants above, never OK
    error NoAnswer(bytes32 modelId, uint8 status);

    /// @notice The model's answer, with the manifest's sampling parameters; reverts unless there is one.
    /// @dev Prefer this one. Reverts with `NoAnswer` for every status but OK, and out of gas when the price cannot be paid.
    /// @param modelId   the model's id, as in the model registry (`bitai-node model ls`)
    /// @param input     the tensor's bytes, exactly as many as the model's input has (language models: token ids)
    /// @param maxOutput the longest answer paid for, in bytes (language models: in tokens)
    /// @return The model's output: bytes of its output tensor, at most `maxOutput`.
    function infer(bytes32 modelId, bytes memory input, uint32 maxOutput) internal view returns (bytes memory) {
        return infer(modelId, input, "", maxOutput);
    }

    /// @notice The model's answer, with sampling parameters of the caller's; reverts unless there is one.
    /// @dev Reverts as the shorter form does. A tensor model takes no parameters: any are BAD_INPUT.
    /// @param modelId   the model's id
    /// @param input     the input, as above
    /// @param params    sampling parameters of a language model in canonical form; empty means the manifest's
    /// @param maxOutput the longest answer paid for, in bytes (language models: in tokens)
    /// @return The model's output, at most `maxOutput`.
    function infer(bytes32 modelId, bytes memory input, bytes memory params, uint32 maxOutput)
        internal
        view
        returns (bytes memory)
    {
        (uint8 status, bytes memory output) = PRECOMPILE.infer(modelId, input, params, maxOutput);
        if (status != OK) revert NoAnswer(modelId, status);
        return output;
    }

    /// @notice The model's answer with its status, for callers that have something sound to do without one.
    /// @dev Reverts only out of gas. A status other than OK must lead where the caller of your contract gains nothing:
    ///      see `UNAVAILABLE`.
    /// @param modelId   the model's id
    /// @param input     the input, as above
    /// @param params    sampling parameters, or empty
    /// @param maxOutput the longest answer paid for, in bytes (language models: in tokens)
    /// @return status   OK, or why there is no answer
    /// @return output   the model's output when status is OK, else empty
    function tryInfer(bytes32 modelId, bytes memory input, bytes memory params, uint32 maxOutput)
        internal
        view
        returns (uint8 status, bytes memory output)
    {
        return PRECOMPILE.infer(modelId, input, params, maxOutput);
    }
}
