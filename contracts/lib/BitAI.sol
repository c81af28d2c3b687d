// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IInfer} from "../interfaces/IInfer.sol";

/// @title Asking a model from a contract.
library BitAI {
    IInfer internal constant PRECOMPILE = IInfer(0x0000000000000000000000000000000000100000);

    uint8 internal constant OK = 0;
    uint8 internal constant BAD_INPUT = 1;
    uint8 internal constant OUT_OF_CONTEXT = 2;
    uint8 internal constant UNAVAILABLE = 3;
    uint8 internal constant UNKNOWN_MODEL = 4;

    /// The model gave no answer; `status` is one of the constants above.
    error NoAnswer(bytes32 modelId, uint8 status);

    /// @notice The model's answer; reverts unless there is one.
    /// @dev Prefer this one. Whoever sends a transaction can make a neuron model UNAVAILABLE to it (by forcing it
    ///      through Bitcoin), so code that goes on without an answer must treat that as failure, never as consent.
    function infer(bytes32 modelId, bytes memory input, uint32 maxOutput) internal view returns (bytes memory) {
        return infer(modelId, input, "", maxOutput);
    }

    /// @notice As above, with sampling parameters of the caller's instead of the manifest's.
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
    function tryInfer(bytes32 modelId, bytes memory input, bytes memory params, uint32 maxOutput)
        internal
        view
        returns (uint8 status, bytes memory output)
    {
        return PRECOMPILE.infer(modelId, input, params, maxOutput);
    }
}
