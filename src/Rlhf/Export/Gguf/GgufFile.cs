using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Operators;
using Rlhf.Runtime.Text;
using static TorchSharp.torch;

namespace Rlhf.Export.Gguf;

/// <summary>
/// A GGUF file in the making, version 3: metadata, then the tensors' names and places, then their numbers, each tensor at a multiple of 32
/// bytes. Tensors are asked for one after the other while the file is written, so that one at a time is held beside the model.
/// </summary>
/// <seealso href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"/>
internal sealed class GgufFile
{
    private const uint Version = 3;
    private const int Alignment = 32, ElementsAtOnce = 4 << 20;
    private static readonly UTF8Encoding Utf8 = new(false);

    private readonly List<KeyValuePair<string, object>> metadata = [];
    private readonly List<Entry> tensors = [];

    /// <summary>A tensor and where its numbers come from.</summary>
    private sealed record Entry(string Name, long[] Shape, GgufTensorType Type, Func<Tensor> Read)
    {
        public long Count { get; } = Shape.Aggregate(1L, (product, size) => product * size);

        public long Bytes => Type.Bytes(Count);
    }

    private enum ValueType : uint
    {
        UInt32 = 4,
        Int32 = 5,
        Float32 = 6,
        Bool = 7,
        Text = 8,
        Array = 9,
    }

    /// <summary>Numbers in all tensors.</summary>
    public long Count => tensors.Sum(t => t.Count);

    /// <summary>Tensors whose rows are no multiple of a block and that are stored in 16 bits instead.</summary>
    public int Unquantized { get; private set; }

    /// <summary>Adds a value under a key: uint, int, float, bool, string, or an array of one of them; null adds nothing.</summary>
    public void Set(string key, object? value)
    {
        if (value is null)
            return;
        if (metadata.Any(m => m.Key == key))
            throw new ArgumentException($"The key {key} occurs twice.", nameof(key));
        metadata.Add(new(key, value));
    }

    /// <summary>Adds a tensor.</summary>
    /// <param name="name">llama.cpp's name.</param>
    /// <param name="shape">Rows first; the file has it the other way around.</param>
    /// <param name="type">Element type; float16 in place of a quantized one where rows are no multiple of its block.</param>
    /// <param name="read">Gives the numbers, in any element type, when they are written; the tensor is disposed afterwards.</param>
    public void Add(string name, long[] shape, GgufTensorType type, Func<Tensor> read)
    {
        if (type.IsQuantized() && shape[^1] % GgufTensorTypes.Block != 0)
        {
            type = GgufTensorType.F16;
            Unquantized++;
        }
        tensors.Add(new(name, shape, type, read));
    }

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <returns>Its length.</returns>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    /// <exception cref="InvalidDataException">A weight is too large for its type.</exception>
    public long Save(string path)
    {
        var header = Header();
        long length = header.Length + tensors.Sum(t => Aligned(t.Bytes));
        AtomicFile.Write(path, stream =>
        {
            stream.Write(header);
            foreach (var tensor in tensors)
                Write(stream, tensor);
        }, expectedBytes: length);
        return length;
    }

    private byte[] Header()
    {
        using var buffer = new MemoryStream();
        using var writer = new BinaryWriter(buffer, Utf8);
        writer.Write("GGUF"u8);
        writer.Write(Version);
        writer.Write((ulong)tensors.Count);
        writer.Write((ulong)metadata.Count);
        foreach (var (key, value) in metadata)
        {
            WriteText(writer, key);
            WriteValue(writer, value);
        }
        long offset = 0;
        foreach (var tensor in tensors)
        {
            WriteText(writer, tensor.Name);
            writer.Write((uint)tensor.Shape.Length);
            foreach (long size in tensor.Shape.Reverse())
                writer.Write((ulong)size);
            writer.Write((uint)tensor.Type);
            writer.Write((ulong)offset);
            offset += Aligned(tensor.Bytes);
        }
        writer.Write(new byte[Aligned(buffer.Length) - buffer.Length]);
        return buffer.ToArray();
    }

    private static void WriteValue(BinaryWriter writer, object value)
    {
        var type = TypeOf(value);
        writer.Write((uint)type);
        if (value is Array array)
        {
            writer.Write((uint)TypeOf(array.GetType().GetElementType()!));
            writer.Write((ulong)array.Length);
            foreach (var item in array)
                WriteScalar(writer, item);
        }
        else
            WriteScalar(writer, value);
    }

    private static ValueType TypeOf(object value) => value is Array ? ValueType.Array : TypeOf(value.GetType());

    private static ValueType TypeOf(Type type) => type == typeof(uint) ? ValueType.UInt32
        : type == typeof(int) ? ValueType.Int32
        : type == typeof(float) ? ValueType.Float32
        : type == typeof(bool) ? ValueType.Bool
        : type == typeof(string) ? ValueType.Text
        : throw new ArgumentException($"A value of type {type.Name} has no form in GGUF here.", nameof(type));

    private static void WriteScalar(BinaryWriter writer, object value)
    {
        switch (value)
        {
            case uint number: writer.Write(number); break;
            case int number: writer.Write(number); break;
            case float number: writer.Write(number); break;
            case bool flag: writer.Write(flag); break;
            default: WriteText(writer, (string)value); break;
        }
    }

    private static void WriteText(BinaryWriter writer, string text)
    {
        var bytes = Utf8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }

    private static unsafe void Write(Stream stream, Entry entry)
    {
        using var noGradient = no_grad();
        using var scope = NewDisposeScope();
        var flat = entry.Read().detach().contiguous().view(-1);
        if (flat.numel() != entry.Count)
            throw new InvalidOperationException($"Tensor {entry.Name} has {flat.numel():N0} numbers and not {entry.Count:N0}.");
        var bytes = new byte[entry.Type.Bytes(Math.Min(entry.Count, ElementsAtOnce))];
        for (long start = 0; start < entry.Count; start += ElementsAtOnce)
        {
            using var chunk = NewDisposeScope();
            int count = (int)Math.Min(ElementsAtOnce, entry.Count - start);
            var piece = flat.narrow(0, start, count).cpu().to(float32).contiguous();
            var filled = bytes.AsSpan(0, (int)entry.Type.Bytes(count));
            try
            {
                entry.Type.Encode(new ReadOnlySpan<float>(TensorPointer.Of(piece), count), filled);
            }
            catch (OverflowException e)
            {
                throw new InvalidDataException($"Tensor {UntrustedText.Clean(entry.Name)} {e.Message}.", e);
            }
            GC.KeepAlive(piece);
            stream.Write(filled);
        }
        stream.Write(new byte[Aligned(entry.Bytes) - entry.Bytes]);
    }

    private static long Aligned(long length) => (length + Alignment - 1) / Alignment * Alignment;
}
