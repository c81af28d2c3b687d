// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {BitAI} from "@bitai/contracts/lib/BitAI.sol";

/// @title A lock that opens for a picture of the right digit, read by a neural network inside the transaction.
/// @notice An image is 64 bytes: 8 rows of 8 pixels, 0 (white) to 16 (black).
contract DigitLock {
    /// @notice What the digit models answer: the digit, then ten big-endian uint16 probabilities, 32,768 meaning one.
    uint32 public constant ANSWER_BYTES = 21;

    bytes32 public immutable modelId;
    uint8 public immutable digit;
    uint16 public immutable sureness;
    address public openedBy;

    event Opened(address indexed by, uint16 probability);

    error WrongDigit(uint8 seen, uint8 wanted);
    error NotSure(uint16 probability, uint16 wanted);

    /// @param modelId_  the model that reads, from `bitai-node model ls`
    /// @param digit_    which digit opens
    /// @param sureness_ how sure the model must be, of 32,768
    constructor(bytes32 modelId_, uint8 digit_, uint16 sureness_) {
        modelId = modelId_;
        digit = digit_;
        sureness = sureness_;
    }

    /// @notice Open the lock. Reverts for another digit, for an unsure answer, and where there is no answer at all:
    ///         a model that is not available must never open a lock.
    function open(bytes calldata image) external {
        bytes memory answer = BitAI.infer(modelId, image, ANSWER_BYTES);
        uint8 seen = uint8(answer[0]);
        if (seen != digit) revert WrongDigit(seen, digit);
        uint256 place = 1 + 2 * uint256(seen);
        uint16 probability = (uint16(uint8(answer[place])) << 8) | uint16(uint8(answer[place + 1]));
        if (probability < sureness) revert NotSure(probability, sureness);
        openedBy = msg.sender;
        emit Opened(msg.sender, probability);
    }
}
