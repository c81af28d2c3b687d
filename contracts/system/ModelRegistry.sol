// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {SystemOnly} from "./SystemOnly.sol";

/// @title The models that the inference precompile knows.
/// @notice A model enters by a system transaction once its inscription on Bitcoin is complete and checked.
/// @dev The node reads this storage (vm/registry.py): slot 0 maps an id to one packed word, slot 1 lists the ids.
contract ModelRegistry is IModelRegistry, SystemOnly {
    mapping(bytes32 modelId => Model) private models;
    bytes32[] private ids;

    error AlreadyRegistered(bytes32 modelId);
    error NotRegistered(bytes32 modelId);

    function register(
        bytes32 modelId,
        uint8 tier,
        uint8 profile,
        uint32 inputBytes,
        uint32 outputBytes,
        uint64 macs,
        uint64 l1Height
    ) external onlySystem {
        if (models[modelId].registered) revert AlreadyRegistered(modelId);
        models[modelId] = Model({
            registered: true,
            active: true,
            tier: tier,
            profile: profile,
            inputBytes: inputBytes,
            outputBytes: outputBytes,
            macs: macs,
            l1Height: l1Height
        });
        ids.push(modelId);
        emit ModelRegistered(modelId, tier, profile, macs, inputBytes, outputBytes);
    }

    function setActive(bytes32 modelId, bool active) external onlySystem {
        if (!models[modelId].registered) revert NotRegistered(modelId);
        models[modelId].active = active;
        emit ModelActivityChanged(modelId, active);
    }

    function model(bytes32 modelId) external view override returns (Model memory) {
        return models[modelId];
    }

    function modelCount() external view override returns (uint256) {
        return ids.length;
    }

    function modelAt(uint256 index) external view override returns (bytes32) {
        return ids[index];
    }
}
