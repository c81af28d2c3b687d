// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title The models that the inference precompile knows.
interface IModelRegistry {
    /// @param registered  whether the registry knows the model
    /// @param active      false: the precompile answers UNKNOWN_MODEL
    /// @param tier        0 on-chain (every node runs it), 1 neuron (a signed record answers)
    /// @param profile     0 tensor, 1 language
    /// @param inputBytes  bytes of an input, exactly (language: the context length in tokens)
    /// @param outputBytes bytes of an output, exactly (language: the most tokens of one answer)
    /// @param macs        multiply-accumulate units of one call (language: of one token)
    /// @param l1Height    the L1 height at which the model's inscription was complete
    struct Model {
        bool registered;
        bool active;
        uint8 tier;
        uint8 profile;
        uint32 inputBytes;
        uint32 outputBytes;
        uint64 macs;
        uint64 l1Height;
    }

    /// @notice A model's inscription is complete: from the next block on it can be asked.
    /// @param modelId     the hash of its artifact
    /// @param tier        0 on-chain, 1 neuron
    /// @param profile     0 tensor, 1 language
    /// @param macs        multiply-accumulates of one call
    /// @param inputBytes  as in `Model`
    /// @param outputBytes as in `Model`
    event ModelRegistered(
        bytes32 indexed modelId, uint8 indexed tier, uint8 profile, uint64 macs, uint32 inputBytes, uint32 outputBytes
    );
    /// @notice A model was switched on or off.
    /// @param modelId which model
    /// @param active  whether it answers from the next block on
    event ModelActivityChanged(bytes32 indexed modelId, bool active);

    /// @notice What is known of a model; all zero where nothing is. Never reverts.
    /// @param modelId the model's id
    /// @return The facts that calls are checked and priced by.
    function model(bytes32 modelId) external view returns (Model memory);

    /// @notice How many models were ever registered.
    /// @return The count; models are never removed.
    function modelCount() external view returns (uint256);

    /// @notice The models in order of registration; reverts (panic 0x32) from `modelCount` on.
    /// @param index   from zero
    /// @return modelId the model's id
    function modelAt(uint256 index) external view returns (bytes32 modelId);
}
