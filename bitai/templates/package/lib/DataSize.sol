// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Bytes that a transaction is charged for on Bitcoin.
/// @dev The rule of docs/spec/fees.md, the same as every node's; a test compares them.
library DataSize {
    uint256 private constant WINDOW = 8191;
    uint256 private constant TAIL = 13;
    uint256 private constant LAST = 4;
    uint256 private constant LONGEST = 262;

    /// @return The charged size for an LZ length.
    function fromLength(uint256 length) internal pure returns (uint256) {
        uint256 size = (length * 965 + 999) / 1000;
        return size > 105 ? size - 35 : 70;
    }

    /// @return total The length of a greedy LZ77 encoding with FastLZ's instructions.
    function lzLength(bytes memory data) internal pure returns (uint256 total) {
        uint256 written = 0;
        if (data.length > TAIL) {
            // 8,192 buckets of four bytes; the last word reaches 28 bytes beyond them.
            bytes memory seen = new bytes(32796);
            uint256 limit = data.length - TAIL;
            uint256 place = 2;
            uint256 source;
            while (true) {
                (place, source) = _find(data, seen, place, limit);
                if (place >= limit) break;
                total += _literals(place - written);
                uint256 length = _common(data, source + 3, place + 3);
                total += _copies(length);
                place += length;
                _replace(seen, _three(data, place), place);
                _replace(seen, _three(data, place + 1), place + 1);
                place += 2;
                written = place;
            }
        }
        total += _literals(data.length - written);
    }

    /// @return The next place whose three bytes stood before, and where; `limit` if there is none.
    function _find(bytes memory data, bytes memory seen, uint256 place, uint256 limit)
        private
        pure
        returns (uint256, uint256)
    {
        for (; place < limit; ++place) {
            uint256 three = _three(data, place);
            uint256 source = _replace(seen, three, place);
            if (place - source <= WINDOW && three == _three(data, source)) {
                // On the last place allowed it comes one step too late.
                return place + 1 < limit ? (place, source) : (limit, 0);
            }
        }
        return (limit, 0);
    }

    /// @return count How many bytes are alike from two places on, the first unlike one counted.
    function _common(bytes memory data, uint256 source, uint256 place) private pure returns (uint256 count) {
        uint256 most = data.length - LAST - place;
        while (count < most) {
            ++count;
            if (data[source + count - 1] != data[place + count - 1]) break;
        }
    }

    function _literals(uint256 count) private pure returns (uint256) {
        return count + (count + 31) / 32;
    }

    function _copies(uint256 length) private pure returns (uint256) {
        --length;
        return 3 * (length / LONGEST) + (length % LONGEST >= 6 ? 3 : 2);
    }

    /// @return three Three bytes, the first one lowest.
    function _three(bytes memory data, uint256 from) private pure returns (uint256 three) {
        assembly ("memory-safe") {
            let word := mload(add(add(data, 32), from))
            three := or(byte(0, word), or(shl(8, byte(1, word)), shl(16, byte(2, word))))
        }
    }

    /// @dev Remembers a place by the hash of its bytes.
    /// @return before The place that stood there.
    function _replace(bytes memory seen, uint256 three, uint256 place) private pure returns (uint256 before) {
        assembly ("memory-safe") {
            let bucket := and(shr(19, mul(three, 2654435769)), 0x1fff)
            let slot := add(add(seen, 32), shl(2, bucket))
            let word := mload(slot)
            before := shr(224, word)
            mstore(slot, or(shl(224, place), shr(32, shl(32, word))))
        }
    }
}
