using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Rlhf.Runtime.Files;
using TorchSharp;

namespace Rlhf.Weights;

/// <summary>What every reader of files from outside does: open, refuse with a place, and show foreign text safely.</summary>
internal static class Untrusted
{
    private const int LongestQuote = 80;

    /// <summary>libtorch keeps some per-dimension state in 64 bits; no checkpoint comes near.</summary>
    public const int MostDimensions = 64;

    public static InvalidDataException Refuse(string path, string what) => new($"{path}: {what}");

    /// <summary>Opens a regular file for reading at any place.</summary>
    public static (SafeFileHandle File, long Length) Open(string path)
    {
        RegularFile.Require(path);
        var file = File.OpenHandle(path, share: FileShare.Read | FileShare.Delete);
        try
        {
            long length = RandomAccess.GetLength(file);
            Span<byte> beginning = stackalloc byte[GitLfsPointer.BeginningLength];
            if (length >= beginning.Length && Fill(file, beginning, 0))
                GitLfsPointer.Refuse(beginning, path, "the weights");
            return (file, length);
        }
        catch (InvalidDataException)
        {
            file.Dispose();
            throw;
        }
        catch (NotSupportedException)
        {
            file.Dispose();
            throw Refuse(path, "not a regular file; weights are read at many places, so a pipe or device cannot be used.");
        }
    }

    /// <summary>Fills a buffer from a place in a file; false when the file ends before.</summary>
    public static bool Fill(SafeFileHandle file, Span<byte> buffer, long offset)
    {
        while (buffer.Length > 0)
        {
            var count = RandomAccess.Read(file, buffer, offset);
            if (count == 0)
                return false;
            buffer = buffer[count..];
            offset += count;
        }
        return true;
    }

    /// <summary>Text from a file as it can stand in a message: cut to a sane length, control characters escaped.</summary>
    public static string Quote(string text)
    {
        var quoted = new StringBuilder("'");
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, LongestQuote)))
            if (char.IsControl(c) || char.IsSurrogate(c))
                quoted.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            else
                quoted.Append(c);
        return quoted.Append(text.Length > LongestQuote ? "...'" : "'").ToString();
    }

    /// <summary>A shape as [2, 3], the first dimensions of one that cannot be meant.</summary>
    public static string Format<T>(ReadOnlySpan<T> shape) =>
        $"[{string.Join(", ", shape[..Math.Min(shape.Length, 8)].ToArray())}{(shape.Length > 8 ? ", ..." : "")}]";

    /// <summary>Number of elements; refuses shapes that libtorch could not index.</summary>
    public static long ElementCount(string path, string name, ReadOnlySpan<long> shape)
    {
        if (shape.Length > MostDimensions)
            throw Refuse(path, $"tensor {Quote(name)} has {shape.Length} dimensions; at most {MostDimensions} are supported.");
        // Strides are computed with empty dimensions counted as one, so that product must fit too.
        Int128 span = 1;
        var empty = false;
        foreach (var dimension in shape)
        {
            empty |= dimension == 0;
            span *= Math.Max(1, dimension);
            if (dimension < 0 || span > long.MaxValue / 16)
                throw Refuse(path, $"tensor {Quote(name)} of shape {Format(shape)} is too large.");
        }
        return empty ? 0 : (long)span;
    }

    public static KeyNotFoundException NoTensor(string path, string name) => new($"{path}: there is no tensor {Quote(name)}.");

    public static int Width(torch.ScalarType type) => type switch
    {
        torch.ScalarType.Bool or torch.ScalarType.Byte or torch.ScalarType.Int8 => 1,
        torch.ScalarType.Int16 or torch.ScalarType.Float16 or torch.ScalarType.BFloat16 => 2,
        torch.ScalarType.Int32 or torch.ScalarType.Float32 => 4,
        torch.ScalarType.Int64 or torch.ScalarType.Float64 or torch.ScalarType.ComplexFloat32 => 8,
        torch.ScalarType.ComplexFloat64 => 16,
        _ => throw new ArgumentException($"Element type {type} is not supported.", nameof(type)),
    };
}
