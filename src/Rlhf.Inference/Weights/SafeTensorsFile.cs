using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>
/// An open safetensors file. Opening reads and checks the header alone; tensors are read when asked for, straight into the
/// destination's memory. May be read from several threads at once.
/// </summary>
public sealed class SafeTensorsFile : IWeightSource
{
    private readonly SafeFileHandle file;
    private readonly SafeTensorsHeader header;
    private readonly long dataStart;

    private SafeTensorsFile(string path, SafeFileHandle file, SafeTensorsHeader header, long dataStart)
    {
        (Path, this.file, this.header, this.dataStart) = (path, file, header, dataStart);
    }

    /// <inheritdoc/>
    public string Path { get; }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => header.Tensors.Keys;

    /// <summary>The text pairs of the header's <c>__metadata__</c>; empty when it has none.</summary>
    public IReadOnlyDictionary<string, string> Metadata => header.Metadata;

    /// <summary>Opens a file and checks its header.</summary>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">
    /// The file is not a sound safetensors file; the message says where and why.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read, or is a folder.</exception>
    public static SafeTensorsFile Open(string path)
    {
        var (file, length) = Untrusted.Open(path);
        try
        {
            var json = ReadHeader(file, length, path);
            var dataStart = SafeTensorsHeader.LengthBytes + json.Length;
            return new(path, file, SafeTensorsHeader.Parse(json, length - dataStart, path), dataStart);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static byte[] ReadHeader(SafeFileHandle file, long fileLength, string path)
    {
        Span<byte> prefix = stackalloc byte[SafeTensorsHeader.LengthBytes];
        if (fileLength < prefix.Length || !Untrusted.Fill(file, prefix, 0))
            throw Untrusted.Refuse(path,
                $"a safetensors file begins with 8 bytes of header length, but the file has only {fileLength} bytes.");
        var length = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        var hint = prefix.StartsWith("PK"u8) ? " It looks like a PyTorch .bin file." : "";
        if (length > SafeTensorsHeader.MostBytes)
            throw Untrusted.Refuse(path,
                $"the header length {length} is over the format's limit of {SafeTensorsHeader.MostBytes} bytes.{hint}");
        if ((long)length > fileLength - prefix.Length)
            throw Untrusted.Refuse(path, $"the header length {length} is more than the file's {fileLength} bytes.{hint}");
        var json = new byte[length];
        return Untrusted.Fill(file, json, prefix.Length) ? json : throw Untrusted.Refuse(path,
            "the file ends inside its header.");
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidDataException">A dimension is beyond what libtorch can index.</exception>
    public long[] Shape(string name)
    {
        var shape = Array.ConvertAll(Entry(name).Shape, dimension => (long)Math.Min(dimension, long.MaxValue));
        _ = Untrusted.ElementCount(Path, name, shape);
        return shape;
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidDataException">
    /// TorchSharp has no such element type (8-bit floats, unsigned integers of more than 8 bits).
    /// </exception>
    public ScalarType ElementType(string name)
    {
        var type = Entry(name).Type;
        return type.Torch ?? throw Untrusted.Refuse(Path,
            $"tensor {Untrusted.Quote(name)} has element type {type.Name}, which is not supported.");
    }

    /// <inheritdoc/>
    public void ReadInto(string name, Tensor destination)
    {
        ObjectDisposedException.ThrowIf(file.IsClosed, this);
        TensorMemory.Read(file, Path, name, ElementType(name), Shape(name), dataStart + (long)Entry(name).Begin, destination);
    }

    private SafeTensorsEntry Entry(string name) =>
        header.Tensors.TryGetValue(name, out var entry) ? entry : throw Untrusted.NoTensor(Path, name);

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();
}
