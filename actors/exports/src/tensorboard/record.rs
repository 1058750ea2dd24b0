//! TFRecord: how the events of a file are separated and protected.

use crc::{CRC_32_ISCSI, Crc};

/// CRC-32C.
const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The bytes of a record: its length and the checksum of the length, the content and its checksum, all little-endian.
pub(super) fn framed(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(content.len() + 16);
    record.extend(length);
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(content);
    record.extend(masked_checksum(content).to_le_bytes());
    record
}

/// The format rotates checksums and adds a constant, so that the checksum of data that contains checksums is no weaker.
pub(super) fn masked_checksum(bytes: &[u8]) -> u32 {
    CASTAGNOLI.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // RFC 3720, B.4, and the check value of CRC-32C.
        let ascending: Vec<u8> = (0..32).collect();
        let known: [(&[u8], u32); 4] = [
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ];
        for (bytes, checksum) in known {
            assert_eq!(CASTAGNOLI.checksum(bytes), checksum);
        }
    }

    #[test]
    fn a_record_of_24_bytes_begins_as_in_every_event_file() {
        // The first event of files by TensorFlow: 24 bytes with the time and `brain.Event:2`.
        let record = framed(&[0; 24]);
        assert_eq!(record[..12], [24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
        assert_eq!(record.len(), 8 + 4 + 24 + 4);
    }
}
