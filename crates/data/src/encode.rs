//! Pictures as PNG files.

use png::{BitDepth, ColorType, Compression, Encoder};

/// A PNG file of red, green and blue, 8 bits each, row-major; `None` where their number is not that of
/// the pixels, or there is none.
#[must_use]
pub fn encode_png(width: usize, height: usize, rgb: &[u8]) -> Option<Vec<u8>> {
    let extents = u32::try_from(width).ok().zip(u32::try_from(height).ok());
    let (columns, rows) = extents.filter(|_| rgb.len() == 3 * width * height && !rgb.is_empty())?;
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, columns, rows);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(rgb).ok()?;
    writer.finish().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_decoder_reads_the_pixels() {
        let rgb: Vec<u8> = (0..5 * 3 * 3).map(|i| (i * 5) as u8).collect();
        let file = encode_png(5, 3, &rgb).unwrap();
        let read = image::load_from_memory(&file).unwrap().into_rgb8();
        assert_eq!((read.width(), read.height()), (5, 3));
        assert_eq!(read.as_raw(), &rgb);
        assert_eq!(encode_png(5, 2, &rgb), None);
        assert_eq!(encode_png(0, 0, &[]), None);
    }
}
