//! Picture files of every format that is read, written by the tests themselves.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage,
    Rgba, RgbaImage,
};
use sepconv_data::{Dataset, InputSpec, Labels, Request};
use sepconv_ir::DType;
use tempfile::{TempDir, tempdir};

/// The samples of a folder as the planes of a model of so many channels.
fn read(dir: &Path, channels: usize) -> Vec<f32> {
    let dims = vec![None, Some(channels), None, None];
    let mut request = Request::new(vec![InputSpec::new("x", DType::F32, dims)]);
    request.labels = Labels::Ignore;
    let dataset = Dataset::open(dir, &request).unwrap();
    let batch = dataset.batch(0..dataset.len()).unwrap();
    batch.inputs[0].to_f32().unwrap().into_owned()
}

/// A folder of one picture.
fn folder(name: &str, picture: impl Into<DynamicImage>) -> TempDir {
    let dir = tempdir().unwrap();
    picture.into().save(dir.path().join(name)).unwrap();
    dir
}

fn colours() -> RgbImage {
    RgbImage::from_fn(17, 12, |x, y| Rgb([200, (x * 9) as u8, (y * 15) as u8]))
}

/// Its planes.
fn planes(picture: &RgbImage) -> Vec<f32> {
    let of = |c: usize| picture.pixels().map(move |p| f32::from(p[c]));
    (0..3).flat_map(of).collect()
}

#[test]
fn every_format_is_read() {
    let expected = planes(&colours());
    for name in [
        "a.bmp", "a.png", "a.tiff", "a.TIF", "a.webp", "a.ppm", "a.pam",
    ] {
        assert_eq!(read(folder(name, colours()).path(), 3), expected, "{name}");
    }
    // JPEG loses something, and the palette of GIF has 256 colours for 204 here.
    for (name, most) in [("a.jpg", 24.0), ("a.gif", 6.0)] {
        let seen = read(folder(name, colours()).path(), 3);
        let errors = seen.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let worst = errors.fold(0.0, f32::max);
        assert!(
            worst <= most && seen.len() == expected.len(),
            "{name}: {worst}"
        );
    }
}

#[test]
fn the_first_frame_of_a_gif_counts() {
    let dir = tempdir().unwrap();
    let mut encoder =
        image::codecs::gif::GifEncoder::new(fs::File::create(dir.path().join("a.gif")).unwrap());
    for grey in [10, 200] {
        let frame = RgbaImage::from_pixel(4, 3, Rgba([grey, grey, grey, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    assert_eq!(read(dir.path(), 1), [10.0; 12]);
}

#[test]
fn transparency_is_laid_over_white() {
    let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51]];
    let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
    let expected = [10., 255., 204., 20., 255., 224., 30., 255., 255.];
    for name in ["a.png", "a.webp", "a.tiff"] {
        assert_eq!(
            read(folder(name, picture.clone()).path(), 3),
            expected,
            "{name}"
        );
    }
    let clear = RgbaImage::from_fn(2, 1, |x, _| Rgba([10, 20, 30, 255 * x as u8]));
    let seen = read(folder("a.gif", clear).path(), 3);
    assert_eq!((seen[0], seen[2], seen[4]), (255.0, 255.0, 255.0));
    let grey = GrayAlphaImage::from_fn(2, 1, |x, _| LumaA([40, 51 * x as u8]));
    assert_eq!(read(folder("a.png", grey).path(), 1), [255.0, 212.0]);
}

#[test]
fn grey_pictures_serve_models_of_three_channels_and_colours_of_one() {
    let grey = GrayImage::from_fn(5, 4, |x, y| Luma([(x * 40 + y) as u8]));
    let values: Vec<f32> = grey.pixels().map(|p| f32::from(p[0])).collect();
    for name in ["a.png", "a.pgm", "a.tiff", "a.bmp"] {
        let dir = folder(name, grey.clone());
        assert_eq!(read(dir.path(), 1), values, "{name}");
        assert_eq!(read(dir.path(), 3), [&values[..]; 3].concat(), "{name}");
    }
    let seen = read(folder("a.bmp", colours()).path(), 1);
    assert_eq!(seen[0], (0.299f32 * 200.0).round());
}

#[test]
fn sixteen_bits_are_fractions_of_eight() {
    let words = [0u16, 257 * 3, 257 * 3 + 128, 65535];
    let grey = ImageBuffer::from_fn(4, 1, |x, _| Luma([words[x as usize]]));
    let expected = [0.0, 3.0, 3.0 + 128.0 / 257.0, 255.0];
    for name in ["a.png", "a.tiff", "a.pgm"] {
        let seen = read(
            folder(name, DynamicImage::ImageLuma16(grey.clone())).path(),
            1,
        );
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
        assert!(seen.iter().zip(&expected).all(close), "{name}: {seen:?}");
    }
    let clear = ImageBuffer::from_pixel(1, 1, Rgba([257u16 * 10, 0, 65535, 257 * 51]));
    let seen = read(folder("a.png", DynamicImage::ImageRgba16(clear)).path(), 3);
    assert!(
        (seen[0] - 206.0).abs() < 1e-3 && (seen[1] - 204.0).abs() < 1e-3,
        "{seen:?}"
    );
    let float = ImageBuffer::from_fn(3, 1, |x, _| Rgb([[0.5f32, 2.0, f32::NAN][x as usize]; 3]));
    let seen = read(folder("a.tiff", DynamicImage::ImageRgb32F(float)).path(), 3);
    assert_eq!(seen[..3], [127.5, 255.0, 0.0]);
}

/// An EXIF block of big-endian TIFF with nothing but the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    let mut block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    block.extend([orientation, 0, 0, 0, 0, 0, 0]);
    block
}

#[test]
fn pictures_are_turned_upright() {
    // The upright picture: 32 wide, 16 high, dark but for its upper left quarter.
    let upright = |x: u32, y: u32| if x < 16 && y < 8 { 250 } else { 5 };
    for orientation in 1..=8u8 {
        // Stored form of a camera that is held otherwise (EXIF 2.32, table 6).
        let (width, height) = if orientation < 5 { (32, 16) } else { (16, 32) };
        let stored = GrayImage::from_fn(width, height, |x, y| {
            let (x, y) = match orientation {
                1 => (x, y),
                2 => (31 - x, y),
                3 => (31 - x, 15 - y),
                4 => (x, 15 - y),
                5 => (y, x),
                6 => (31 - y, x),
                7 => (31 - y, 15 - x),
                _ => (y, 15 - x),
            };
            Luma([upright(x, y)])
        });
        let dir = tempdir().unwrap();
        let mut jpeg = std::io::Cursor::new(Vec::new());
        DynamicImage::ImageLuma8(stored.clone())
            .write_to(&mut jpeg, ImageFormat::Jpeg)
            .unwrap();
        let (jpeg, block) = (jpeg.into_inner(), exif(orientation));
        let mut bytes = jpeg[..2].to_vec();
        bytes.extend([0xff, 0xe1, 0, u8::try_from(block.len() + 8).unwrap()]);
        bytes.extend(b"Exif\0\0");
        bytes.extend(&block);
        bytes.extend(&jpeg[2..]);
        fs::write(dir.path().join("a.jpg"), bytes).unwrap();
        let mut png = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut png);
        image::ImageEncoder::set_exif_metadata(&mut encoder, block).unwrap();
        DynamicImage::ImageLuma8(stored)
            .write_with_encoder(encoder)
            .unwrap();
        fs::write(dir.path().join("b.png"), png).unwrap();

        let expected: Vec<u8> = (0..16 * 32).map(|i| upright(i % 32, i / 32)).collect();
        let seen = read(dir.path(), 1);
        assert_eq!(seen.len(), 2 * expected.len());
        for (seen, wanted) in seen.iter().zip(expected.iter().cycle()) {
            assert!((seen - f32::from(*wanted)).abs() < 12.0, "{orientation}");
        }
    }
}

#[test]
fn damaged_pictures_are_errors_that_name_them() {
    for name in [
        "a.bmp", "a.gif", "a.jpg", "a.png", "a.ppm", "a.tiff", "a.webp",
    ] {
        let dir = folder(name, colours());
        let path = dir.path().join(name);
        let good = fs::read(&path).unwrap();
        let dims = vec![None, Some(3), None, None];
        let request = Request::new(vec![InputSpec::new("x", DType::F32, dims)]);
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let read = Dataset::open(dir.path(), &request).and_then(|d| d.batch(0..1));
            read.map(|_| ()).unwrap_err().to_string()
        };
        for part in [0, 3, 10, 50] {
            let error = refused(&good[..good.len() * part / 100]);
            assert!(error.contains(name) && !error.contains('\n'), "{error}");
        }
        for at in (0..good.len()).step_by(good.len() / 60 + 1) {
            let mut bytes = good.clone();
            bytes[at] ^= 0xff;
            fs::write(&path, &bytes).unwrap();
            // Whatever it is taken for: no panic.
            let _ = Dataset::open(dir.path(), &request).and_then(|d| d.batch(0..1));
        }
    }
}
