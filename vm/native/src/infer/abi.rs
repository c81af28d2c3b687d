//! Calldata and return data of the INFER precompile.
//!
//! `infer(bytes32 modelId, bytes input, bytes params, uint32 maxOutput) returns (uint8 status, bytes output)`

use alloy_primitives::{B256, Bytes, U256};

/// First four bytes of keccak256("infer(bytes32,bytes,bytes,uint32)").
pub(crate) const SELECTOR: [u8; 4] = [0x2b, 0xee, 0xfa, 0x08];

/// Arguments of a call, borrowed from its calldata.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments<'a> {
    pub(crate) model_id: B256,
    pub(crate) input: &'a [u8],
    pub(crate) params: &'a [u8],
    pub(crate) max_output: u32,
}

/// Decodes calldata; None where Solidity's own decoder would revert.
///
/// Offsets may point anywhere inside; padding and trailing bytes are not looked at.
pub(crate) fn decode(calldata: &[u8]) -> Option<Arguments<'_>> {
    let body = calldata.strip_prefix(&SELECTOR)?;
    Some(Arguments {
        model_id: word(body, 0)?,
        input: byte_string(body, 32)?,
        params: byte_string(body, 64)?,
        max_output: u32::try_from(U256::from_be_bytes(word(body, 96)?.0)).ok()?,
    })
}

/// Encodes the calldata that [`decode`] reads.
pub(crate) fn encode_call(arguments: &Arguments<'_>) -> Bytes {
    let Arguments { model_id, input, params, max_output } = arguments;
    let number = |value: u64| U256::from(value).to_be_bytes::<32>();
    let params_at = 160 + input.len().div_ceil(32) * 32;
    let mut data = SELECTOR.to_vec();
    data.extend_from_slice(model_id.as_slice());
    for value in [128, params_at as u64, u64::from(*max_output)] {
        data.extend_from_slice(&number(value));
    }
    for bytes in [input, params] {
        data.extend_from_slice(&number(bytes.len() as u64));
        data.extend_from_slice(bytes);
        data.resize(data.len() + bytes.len().next_multiple_of(32) - bytes.len(), 0);
    }
    data.into()
}

/// Encodes `(uint8 status, bytes output)`.
pub(crate) fn encode_answer(status: u8, output: &[u8]) -> Bytes {
    let padded = output.len().div_ceil(32) * 32;
    let mut data = vec![0; 96 + padded];
    data[31] = status;
    data[63] = 64;
    data[88..96].copy_from_slice(&(output.len() as u64).to_be_bytes());
    data[96..96 + output.len()].copy_from_slice(output);
    data.into()
}

fn word(body: &[u8], at: usize) -> Option<B256> {
    let bytes = body.get(at..at.checked_add(32)?)?;
    Some(B256::from_slice(bytes))
}

fn length_at(body: &[u8], at: usize) -> Option<usize> {
    usize::try_from(U256::from_be_bytes(word(body, at)?.0)).ok()
}

fn byte_string(body: &[u8], head: usize) -> Option<&[u8]> {
    let offset = length_at(body, head)?;
    let length = length_at(body, offset)?;
    let start = offset.checked_add(32)?;
    body.get(start..start.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::{Arguments, SELECTOR, decode, encode_answer, encode_call};
    use alloy_primitives::{B256, keccak256};

    fn call(words: &[u64], tail: &[u8]) -> Vec<u8> {
        let mut data = SELECTOR.to_vec();
        for word in words {
            data.extend_from_slice(&[0; 24]);
            data.extend_from_slice(&word.to_be_bytes());
        }
        data.extend_from_slice(tail);
        data
    }

    #[test]
    fn the_selector_is_the_hash_of_the_signature() {
        assert_eq!(SELECTOR, keccak256("infer(bytes32,bytes,bytes,uint32)")[..4]);
    }

    #[test]
    fn arguments_are_read_where_the_offsets_point() {
        let data = call(&[7, 128, 192, 10, 2], &[&[1u8, 2][..], &[0; 62]].concat());
        let expected =
            Arguments { model_id: B256::with_last_byte(7), input: &[1, 2], params: &[], max_output: 10 };
        assert_eq!(decode(&data), Some(expected));
    }

    #[test]
    fn calldata_that_does_not_decode_is_refused() {
        let good = call(&[7, 128, 160, 10, 0, 0], &[]);
        assert!(decode(&good).is_some());
        assert!(decode(&good[..good.len() - 1]).is_none(), "truncated");
        assert!(decode(&call(&[7, 128, 160, 1 << 32, 0, 0], &[])).is_none(), "maxOutput beyond uint32");
        assert!(decode(&call(&[7, u64::MAX, 160, 1, 0, 0], &[])).is_none(), "offset outside");
        assert!(decode(&call(&[7, 128, 160, 1, u64::MAX, 0], &[])).is_none(), "length outside");
        assert!(decode(&good[1..]).is_none(), "selector");
        assert!(decode(&[]).is_none());
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        for (input, params) in [(&[1u8; 33][..], &[][..]), (&[], &[2; 32]), (&[3; 64], &[4; 1])] {
            let arguments = Arguments { model_id: B256::repeat_byte(5), input, params, max_output: 77 };
            let data = encode_call(&arguments);
            assert_eq!(decode(&data), Some(arguments));
        }
    }

    #[test]
    fn answers_are_abi_encoded() {
        let data = encode_answer(1, &[9; 33]);
        assert_eq!(data.len(), 160);
        assert_eq!((data[31], data[63], data[95]), (1, 64, 33));
        assert_eq!(data[96..129], [9; 33]);
        assert_eq!(encode_answer(0, &[]).len(), 96);
    }
}
