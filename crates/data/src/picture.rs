//! Decoding one JPEG or PNG file.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use image::{ImageFormat, ImageReader, Limits};

use crate::error::DataError;
use crate::planes::Planes;
use crate::size::MAX_SIDE;

/// The largest picture file that is read, bytes.
const MAX_FILE: u64 = 1 << 28;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits
}

fn malformed(path: &Path, found: impl std::fmt::Display) -> DataError {
    DataError::malformed(path, "a JPEG or PNG picture", found)
}

/// The size (height, width) from the header alone.
pub(crate) fn size(path: &Path) -> Result<(usize, usize), DataError> {
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    let mut reader = guessed(path, BufReader::new(file))?;
    reader.limits(limits());
    let (width, height) = reader.into_dimensions().map_err(|e| malformed(path, e))?;
    Ok((height as usize, width as usize))
}

fn guessed<R: std::io::BufRead + std::io::Seek>(
    path: &Path,
    from: R,
) -> Result<ImageReader<R>, DataError> {
    let reader = ImageReader::new(from)
        .with_guessed_format()
        .map_err(DataError::io(path, "read"))?;
    match reader.format() {
        Some(ImageFormat::Jpeg | ImageFormat::Png) => Ok(reader),
        Some(other) => Err(malformed(path, other.to_mime_type())),
        None => Err(malformed(path, "other content")),
    }
}

/// Decodes a file to planes of 0 to 255: red, green, blue, or luma when `channels` is 1.
///
/// Transparency is dropped, 16-bit pictures are reduced to 8, EXIF rotation
/// is not applied. Luma is ITU-R 601, in the integer arithmetic that Pillow uses.
pub(crate) fn decode(path: &Path, channels: usize) -> Result<Planes, DataError> {
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(DataError::io(path, "open"))?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(DataError::io(path, "read"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(malformed(path, format!("more than {MAX_FILE} bytes")));
    }
    let mut reader = guessed(path, Cursor::new(&bytes))?;
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_ends(&bytes) {
        return Err(malformed(path, "a truncated JPEG"));
    }
    reader.limits(limits());
    let rgb = reader.decode().map_err(|e| malformed(path, e))?.into_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    let pixels = rgb.as_raw().chunks_exact(3);
    let data = if channels == 1 {
        pixels.map(luma).collect()
    } else {
        let mut data = Vec::with_capacity(rgb.as_raw().len());
        for c in 0..3 {
            data.extend(pixels.clone().map(|p| f32::from(p[c])));
        }
        data
    };
    Ok(Planes {
        channels: if channels == 1 { 1 } else { 3 },
        height,
        width,
        data,
    })
}

fn luma(pixel: &[u8]) -> f32 {
    let [r, g, b] = [0, 1, 2].map(|c| u32::from(pixel[c]));
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as f32
}

/// Whether the last scan of a JPEG is followed by an end marker.
///
/// The decoder fills what a cut file lacks with grey and says nothing. Within
/// a scan 0xFF is always escaped, so an end marker after the last scan is real.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|w| w == [0xff, marker]);
    match (last(0xda), last(0xd9)) {
        (Some(scan), Some(end)) => end > scan,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    /// Writes a small colourful picture; the extension chooses the format.
    fn save(path: &Path, width: u32, height: u32, tint: u8) {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([tint, (x * 5 % 256) as u8, (y * 7 % 256) as u8])
        })
        .save(path)
        .unwrap();
    }

    #[test]
    fn png_is_exact_and_jpeg_is_near() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("a.png");
        let jpeg = dir.path().join("a.jpg");
        save(&png, 20, 10, 200);
        save(&jpeg, 20, 10, 200);
        assert_eq!(size(&png).unwrap(), (10, 20));
        let a = decode(&png, 3).unwrap();
        assert_eq!((a.channels, a.height, a.width), (3, 10, 20));
        assert_eq!(
            (a.data[0], a.data[201], a.data[400 + 20]),
            (200.0, 5.0, 7.0)
        );
        let b = decode(&jpeg, 3).unwrap();
        let worst = a.data.iter().zip(&b.data).map(|(x, y)| (x - y).abs());
        assert!(worst.fold(0.0, f32::max) < 64.0);
        let grey = decode(&png, 1).unwrap();
        assert_eq!(grey.data[0], (0.299f32 * 200.0).round());
    }

    #[test]
    fn format_goes_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("a.png");
        save(&png, 4, 4, 1);
        let other = dir.path().join("b.dat");
        std::fs::rename(&png, &other).unwrap();
        assert!(decode(&other, 3).is_ok());
        std::fs::write(&png, "GIF89a..........").unwrap();
        let error = decode(&png, 3).unwrap_err().to_string();
        assert!(error.ends_with("found image/gif"), "{error}");
    }

    #[test]
    fn cut_pictures_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.png", "a.jpg"] {
            let path = dir.path().join(name);
            save(&path, 64, 64, 90);
            let good = std::fs::read(&path).unwrap();
            for part in [1, 10, 50, 90, 99] {
                std::fs::write(&path, &good[..good.len() * part / 100]).unwrap();
                let error = decode(&path, 3).unwrap_err().to_string();
                assert!(error.contains(name) && !error.contains('\n'), "{error}");
            }
            for at in (0..good.len()).step_by(7) {
                let mut bytes = good.clone();
                bytes[at] ^= 0xff;
                std::fs::write(&path, &bytes).unwrap();
                let (_, _) = (size(&path), decode(&path, 3));
            }
        }
    }
}
