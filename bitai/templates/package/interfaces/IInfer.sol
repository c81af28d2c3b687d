// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title The inference precompile, at 0x0000000000000000000000000000000000100000.
/// @notice Asks a model inside the calling transaction. A status other than OK is an answer, not a revert;
///         the only failure of the call itself is running out of gas.
///         Most contracts want the library in lib/BitAI.sol, which reverts unless the status is OK.
interface IInfer {
    /// @param modelId   the model's 32-byte id, as in the model registry
    /// @param input     the tensor's bytes, exactly as many as the model's input has
    /// @param params    sampling parameters; empty means those of the model's manifest
    /// @param maxOutput the most output bytes (language models: tokens) that the caller pays for
    /// @return status   0 OK, 1 BAD_INPUT, 2 OUT_OF_CONTEXT, 3 UNAVAILABLE, 4 UNKNOWN_MODEL
    /// @return output   the model's answer when status is OK, else empty
    function infer(bytes32 modelId, bytes calldata input, bytes calldata params, uint32 maxOutput)
        external
        view
        returns (uint8 status, bytes memory output);
}
