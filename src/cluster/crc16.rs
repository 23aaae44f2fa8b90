//! The checksum behind hash slots: CRC16/XMODEM, polynomial 0x1021 (Redis: cluster specification,
//! appendix A). Of every key that is routed, so eight bytes at a time.

/// Bytes that are taken at once.
const STEP: usize = 8;

/// `TABLES[n][byte]` is the checksum of the byte and `n` zeros behind it.
static TABLES: [[u16; 256]; STEP] = tables();

const fn tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < STEP {
            let mut bit = 0;
            while bit < 8 {
                crc = crc << 1 ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

/// The checksum of these bytes.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let (steps, rest) = bytes.as_chunks::<STEP>();
    for step in steps {
        // What came before reaches into the first two bytes; all of them then go their own way.
        let [high, low] = crc.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = *step;
        crc = TABLES[7][usize::from(a ^ high)]
            ^ TABLES[6][usize::from(b ^ low)]
            ^ TABLES[5][usize::from(c)]
            ^ TABLES[4][usize::from(d)]
            ^ TABLES[3][usize::from(e)]
            ^ TABLES[2][usize::from(f)]
            ^ TABLES[1][usize::from(g)]
            ^ TABLES[0][usize::from(h)];
    }
    for byte in rest {
        let [high, low] = crc.to_be_bytes();
        crc = u16::from(low) << 8 ^ TABLES[0][usize::from(high ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, bit by bit.
    fn slow(bytes: &[u8]) -> u16 {
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        bits.fold(0, |crc, bit| {
            let is_odd = crc >> 15 ^ u16::from(bit) == 1;
            crc << 1 ^ if is_odd { 0x1021 } else { 0 }
        })
    }

    /// The specification's own check value.
    #[test]
    fn the_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    proptest! {
        #[test]
        fn eight_at_a_time_is_bit_by_bit(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(crc16(&bytes), slow(&bytes));
        }
    }
}
