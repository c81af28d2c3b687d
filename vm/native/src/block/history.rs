//! Undo data once more, as rows by key and block, and a sum that tells whether one was lost.
//!
//! Row: `h`, the state key's length (1), the state key, the block's number (8); the former value, empty for none.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::undo;

const PREFIX: u8 = b'h';
/// Code is named by its hash: what is there once never changes.
const CODE: u8 = b'c';

/// `history_rows` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn history_rows<'py>(
    py: Python<'py>,
    undo: &[u8],
    number: u64,
) -> PyResult<(Bound<'py, PyList>, u64)> {
    let (list, mut total) = (PyList::empty(py), 0);
    let mut row = Vec::with_capacity(128);
    for (key, value) in undo::decode(undo)? {
        if key.first() == Some(&CODE) {
            continue;
        }
        row.clear();
        row.extend_from_slice(&[PREFIX, key.len() as u8]);
        row.extend_from_slice(key);
        row.extend_from_slice(&number.to_be_bytes());
        let value = value.unwrap_or_default();
        total += u64::from(crc32(&[&row, value]));
        list.append((PyBytes::new(py, &row), PyBytes::new(py, value)))?;
    }
    Ok((list, total))
}

const POLYNOMIAL: u32 = 0xedb8_8320;

/// `TABLES[n][byte]`: what a byte followed by `n` zero bytes leaves.
const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut at = 256;
    while at < 8 * 256 {
        let before = tables[at / 256 - 1][at % 256];
        tables[at / 256][at % 256] = before >> 8 ^ tables[0][(before & 0xff) as usize];
        at += 1;
    }
    tables
}

/// CRC-32 as in zlib of some parts, one after the other; eight bytes a step.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = !0;
    for part in parts {
        let (blocks, rest) = part.as_chunks::<8>();
        for block in blocks {
            let low = crc ^ u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
            let mut next = 0;
            for (place, byte) in low.to_le_bytes().iter().chain(&block[4..]).enumerate() {
                next ^= TABLES[7 - place][usize::from(*byte)];
            }
            crc = next;
        }
        for byte in rest {
            crc = crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)];
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[]), 0);
    }

    #[test]
    fn parts_are_one_text() {
        let text: Vec<u8> = (0..100).collect();
        for cut in 0..text.len() {
            assert_eq!(crc32(&[&text[..cut], &text[cut..]]), crc32(&[&text]));
        }
    }
}
