//! A spectrogram as a picture: a PNG of log-mel features, as the model sees them.
//!
//! Time goes from left to right, frequency from bottom to top. Pixels are indices into a palette, which keeps the file
//! small. The palette's lightness rises evenly as people see it, so that equal steps in dB look equal; it is computed in
//! OKLab (<https://bottosson.github.io/posts/oklab/>).

use std::io::Write as _;

use flate2::Compression;
use flate2::Crc;
use flate2::write::ZlibEncoder;

use super::mel::LogMel;

/// Pixels of a frame in width; fewer in clips that would be wider than [`MAX_WIDTH`].
const PIXELS_PER_FRAME: usize = 2;

/// Greatest width of a picture in pixels.
const MAX_WIDTH: usize = 2000;

/// A picture has two rows of pixels per mel band, unless it would be higher than this.
const MAX_HEIGHT: usize = 512;

/// Distance of the darkest colour from the lightest one in the units of [`LogMel::values`]: 80 dB. Fainter energies have
/// been cut off there.
const RANGE: f32 = 2.0;

/// A PNG of the frames that begin within the clip. The loudest band of the clip has the lightest colour, 80 dB below it is
/// the darkest; a clip without sound is dark. A column that stands for several frames shows their mean.
///
/// Shapes: `n_mels` rows of 2 pixels (1 above 256 bands), 2 columns per valid frame, at most 2000
pub fn png(features: &LogMel) -> Vec<u8> {
    let frames = features.valid_frames.min(features.frames);
    let width = (frames * PIXELS_PER_FRAME).clamp(1, MAX_WIDTH);
    let row_height = if features.n_mels * 2 <= MAX_HEIGHT { 2 } else { 1 };
    let mut pixels = Vec::with_capacity((width + 1) * features.n_mels * row_height);
    let lightest = if features.is_silent() {
        f32::INFINITY
    } else {
        features.values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    };
    for band in (0..features.n_mels).rev() {
        let row = &features.values[band * features.frames..][..frames];
        let start = pixels.len();
        // The filter of a row: none.
        pixels.push(0);
        pixels.extend((0..width).map(|column| colour_of(mean(row, column, width), lightest)));
        for _ in 1..row_height {
            pixels.extend_from_within(start..start + width + 1);
        }
    }
    encode(width, features.n_mels * row_height, &pixels)
}

/// Mean of the frames that a column of a picture of `width` columns stands for.
fn mean(row: &[f32], column: usize, width: usize) -> f32 {
    let first = column * row.len() / width;
    let end = ((column + 1) * row.len() / width).max(first + 1);
    row.get(first..end).map_or(f32::NEG_INFINITY, |part| part.iter().sum::<f32>() / part.len() as f32)
}

/// The index of a value's colour.
fn colour_of(value: f32, lightest: f32) -> u8 {
    // A conversion from float to integer keeps within the integer's range.
    (255.0 * (1.0 - (lightest - value) / RANGE)).round() as u8
}

/// The colours from dark to light: night blue, purple, red, orange, pale yellow.
fn palette() -> [[u8; 3]; 256] {
    std::array::from_fn(|i| {
        let t = i as f64 / 255.0;
        // The hue turns from blue (275°) over red to yellow (100° = 460°); the ends have less colour than the middle, because
        // very dark and very light colours can't have more on a screen.
        let (lightness, hue) = (0.13 + 0.84 * t, (275.0 + 185.0 * t).to_radians());
        let chroma = 0.05 + 0.48 * t * (1.0 - t);
        srgb(lightness, chroma * hue.cos(), chroma * hue.sin())
    })
}

/// A colour of OKLab in sRGB, cut off to what a screen can show.
fn srgb(lightness: f64, a: f64, b: f64) -> [u8; 3] {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s,
    ];
    linear.map(|value| {
        let value = value.clamp(0.0, 1.0);
        let encoded =
            if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
        (255.0 * encoded).round() as u8
    })
}

/// A PNG with [`palette`]. `pixels` has `height` rows, each a filter and `width` indices.
fn encode(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&(width as u32).to_be_bytes());
    header.extend_from_slice(&(height as u32).to_be_bytes());
    // 8 bits per pixel, colours of a palette; the only compression and filter method; not interlaced.
    header.extend_from_slice(&[8, 3, 0, 0, 0]);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector cannot fail.
    let compressed = encoder.write_all(pixels).and_then(|()| encoder.finish()).unwrap_or_default();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    push_chunk(&mut file, b"IHDR", &header);
    push_chunk(&mut file, b"PLTE", palette().as_flattened());
    push_chunk(&mut file, b"IDAT", &compressed);
    push_chunk(&mut file, b"IEND", &[]);
    file
}

/// Appends a chunk: its length, its name, its content, and a checksum of name and content.
fn push_chunk(file: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    file.extend_from_slice(&(content.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend_from_slice(name);
    file.extend_from_slice(content);
    let mut sum = Crc::new();
    sum.update(&file[start..]);
    file.extend_from_slice(&sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::ZlibDecoder;

    use super::*;

    /// Width, height, and rows of indices from the top; checks the sums of all chunks.
    fn decode(file: &[u8]) -> (usize, usize, Vec<Vec<u8>>) {
        let mut rest = file.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let mut sum = Crc::new();
            sum.update(&rest[4..8 + length]);
            assert_eq!(rest[8 + length..12 + length], sum.sum().to_be_bytes());
            chunks.push((&rest[4..8], &rest[8..8 + length]));
            rest = &rest[12 + length..];
        }
        let names: Vec<&[u8]> = chunks.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [b"IHDR", b"PLTE", b"IDAT", b"IEND"]);
        assert_eq!(chunks[1].1.len(), 768);
        let side = |at: usize| u32::from_be_bytes(chunks[0].1[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (side(0), side(4));
        let mut pixels = Vec::new();
        ZlibDecoder::new(chunks[2].1).read_to_end(&mut pixels).unwrap();
        let rows: Vec<Vec<u8>> = pixels.chunks(width + 1).map(|row| row[1..].to_vec()).collect();
        assert!(rows.len() == height && pixels.iter().step_by(width + 1).all(|&filter| filter == 0));
        (width, height, rows)
    }

    fn features(rows: &[&[f32]], valid_frames: usize) -> LogMel {
        let (n_mels, frames) = (rows.len(), rows[0].len());
        LogMel { values: rows.concat(), n_mels, frames, valid_frames, truncated: false, samples: None }
    }

    #[test]
    fn low_bands_are_at_the_bottom_and_time_goes_to_the_right() {
        // Loudest is 1, so 0 is half of the range of 2 below it: index 127.5, rounded to 128. The last frame is padding.
        let features = features(&[&[1.0, 0.0, 9.0], &[-1.0, -5.0, 9.0]], 2);
        let (width, height, rows) =
            decode(&png(&LogMel { values: vec![1.0, 0.0, -1.0, -1.0, -5.0, -1.0], ..features }));
        assert_eq!((width, height), (4, 4));
        assert_eq!(rows, [[0, 0, 0, 0], [0, 0, 0, 0], [255, 255, 128, 128], [255, 255, 128, 128]]);
    }

    #[test]
    fn a_long_clip_is_not_wider_than_2000_pixels_and_shows_means() {
        // 4000 frames in 2000 columns: each the mean of 1 and -1, which is 0.
        let row: Vec<f32> = (0..4000).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let (width, height, rows) = decode(&png(&features(&[&row], 4000)));
        assert_eq!((width, height), (2000, 2));
        assert!(rows[0].iter().all(|&index| index == 128), "{:?}", &rows[0][..4]);
    }

    #[test]
    fn a_clip_without_sound_is_dark_and_one_without_frames_is_a_picture() {
        let (_, _, rows) = decode(&png(&features(&[&[-1.5, -1.5], &[-1.5, -1.5]], 2)));
        assert!(rows.concat().iter().all(|&index| index == 0));
        assert_eq!(decode(&png(&features(&[&[0.5], &[0.5]], 0))).0, 1);
    }

    /// Brightness as people see it (CIE L*, 0 to 100), of an sRGB colour.
    fn brightness(colour: [u8; 3]) -> f64 {
        let linear = colour.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        if y <= 0.008_856 { 903.3 * y } else { 116.0 * y.cbrt() - 16.0 }
    }

    #[test]
    fn the_colours_grow_lighter_evenly() {
        let lightness: Vec<f64> = palette().into_iter().map(brightness).collect();
        assert!(lightness[0] < 5.0 && lightness[255] > 93.0, "{} to {}", lightness[0], lightness[255]);
        // Over 16 colours of 255, about 16 / 255 · 92 = 5.8 of brightness.
        for steps in lightness.windows(17).map(|part| part[16] - part[0]) {
            assert!((2.5..9.0).contains(&steps), "{steps}");
        }
    }
}
