// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IL1Info} from "../interfaces/IL1Info.sol";
import {DataSize} from "../lib/DataSize.sol";

/// @title What a transaction pays for its bytes on Bitcoin, for wallets that ask a contract.
/// @notice Stands where OP chains have theirs and answers the same questions; there is no operator fee and no blob.
/// @dev A wallet asks before it signs, so the unsigned form is what it hands over; a signature's bytes are added.
contract GasPriceOracle {
    IL1Info private constant L1_INFO = IL1Info(0x4200000000000000000000000000000000000015);
    /// @dev Wei of one byte at a rate of 1 sat per 1,000 bytes: 10^10 / 1,000.
    uint256 private constant WEI_PER_RATE = 1e7;
    uint256 private constant ONE = 1e6;
    /// @dev No byte of a signature repeats another.
    uint256 private constant SIGNATURE_LENGTH = 68;

    /// @param unsigned the serialized transaction without its signature
    /// @return Wei that it pays besides its gas.
    function getL1Fee(bytes memory unsigned) external view returns (uint256) {
        return _fee(getL1GasUsed(unsigned));
    }

    /// @return Bytes that an unsigned transaction will be charged for.
    function getL1GasUsed(bytes memory unsigned) public pure returns (uint256) {
        return DataSize.fromLength(DataSize.lzLength(unsigned) + SIGNATURE_LENGTH);
    }

    /// @return What a transaction of this many unsigned bytes pays if none of them repeats another.
    function getL1FeeUpperBound(uint256 unsignedSize) external view returns (uint256) {
        uint256 length = unsignedSize + (unsignedSize + 31) / 32 + SIGNATURE_LENGTH;
        return _fee(DataSize.fromLength(length));
    }

    /// @param raw a signed transaction
    /// @return Bytes that it is charged for.
    function dataSize(bytes memory raw) external pure returns (uint256) {
        return DataSize.fromLength(DataSize.lzLength(raw));
    }

    /// @return Wei of one byte before the scalar: `l1GasPrice` of receipts.
    function l1BaseFee() external view returns (uint256) {
        return L1_INFO.feeRate() * WEI_PER_RATE;
    }

    /// @return What the price of a byte is multiplied by, in units of 10^-decimals.
    function scalar() external view returns (uint256) {
        return L1_INFO.feeScalar();
    }

    function decimals() external pure returns (uint256) {
        return 6;
    }

    function overhead() external pure returns (uint256) {
        return 0;
    }

    function gasPrice() external view returns (uint256) {
        return block.basefee;
    }

    function baseFee() external view returns (uint256) {
        return block.basefee;
    }

    function blobBaseFee() external pure returns (uint256) {
        return 0;
    }

    function getOperatorFee(uint256) external pure returns (uint256) {
        return 0;
    }

    function _fee(uint256 size) private view returns (uint256) {
        return size * L1_INFO.feeRate() * L1_INFO.feeScalar() * WEI_PER_RATE / ONE;
    }
}
