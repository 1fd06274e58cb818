using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text.Json;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Weights;

/// <summary>Reads and writes whole safetensors files.</summary>
public static class SafeTensors
{
    /// <summary>Reads all tensors of a file into CPU memory, with the types that they are stored in.</summary>
    /// <returns>The tensors by name; they belong to the caller's dispose scope.</returns>
    /// <exception cref="FileNotFoundException">There is no such file.</exception>
    /// <exception cref="InvalidDataException">The file is not a sound safetensors file.</exception>
    public static Dictionary<string, Tensor> Load(string path)
    {
        using var file = SafeTensorsFile.Open(path);
        return file.ReadAll();
    }

    /// <summary>Reads all tensors of a source into CPU memory, with the types that they are stored in.</summary>
    /// <returns>The tensors by name; they belong to the caller's dispose scope.</returns>
    /// <exception cref="InvalidDataException">The file is damaged, or holds an element type that TorchSharp lacks.</exception>
    public static Dictionary<string, Tensor> ReadAll(this IWeightSource source)
    {
        LibTorch.Initialize();
        using var scope = NewDisposeScope();
        var tensors = new Dictionary<string, Tensor>();
        foreach (var name in source.Names)
        {
            var tensor = empty(source.Shape(name), source.ElementType(name));
            source.ReadInto(name, tensor);
            tensors.Add(name, tensor);
        }
        foreach (var tensor in tensors.Values)
            tensor.MoveToOuterDisposeScope();
        return tensors;
    }

    /// <summary>
    /// Writes tensors to a file atomically. Tensors that are the same memory in the same shape are written once, under the first
    /// name. Wider types come first, then names in order, as the reference writer has it.
    /// </summary>
    /// <param name="path">The file to write or replace; its folder must exist.</param>
    /// <param name="tensors">Names and tensors, on any device.</param>
    /// <param name="metadata">Text for the header; <c>format: pt</c>, which transformers asks for, is added when absent.</param>
    /// <param name="storeAs">
    /// Type that floating point tensors are stored as, such as BFloat16; null keeps each tensor's own.
    /// </param>
    /// <exception cref="ArgumentException">
    /// A name is repeated or reserved, an element type is not part of the format, or a value is too large for
    /// <paramref name="storeAs"/>.
    /// </exception>
    /// <exception cref="IOException">The disk is full, or the file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The folder or file may not be written.</exception>
    public static void Save(
        string path,
        IEnumerable<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata = null,
        ScalarType? storeAs = null)
    {
        if (storeAs is not (null or ScalarType.Float16 or ScalarType.BFloat16 or ScalarType.Float32 or ScalarType.Float64))
            throw new ArgumentException($"Weights cannot be stored as {storeAs}; choose a floating point type.", nameof(storeAs));
        var items = Arrange(tensors, storeAs);
        var header = Header(items, metadata);
        AtomicFile.Write(path, stream =>
        {
            stream.Write(header);
            foreach (var item in items)
                TensorMemory.Write(stream, item.Name, item.Tensor, item.Type.Torch!.Value);
        }, expectedBytes: header.Length + items.Sum(item => item.Bytes));
    }

    private static readonly JsonWriterOptions PlainText = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private sealed record Item(string Name, Tensor Tensor, SafeTensorsType Type)
    {
        public long Bytes { get; } = Tensor.numel() * (Type.Bits / 8);
    }

    private static Item[] Arrange(IEnumerable<KeyValuePair<string, Tensor>> tensors, ScalarType? storeAs)
    {
        var names = new HashSet<string> { "__metadata__" };
        var written = new HashSet<string>();
        var items = new List<Item>();
        foreach (var (name, tensor) in tensors)
        {
            if (!names.Add(name))
                throw new ArgumentException($"The tensor name {Untrusted.Quote(name)} is reserved or repeated.", nameof(tensors));
            var type = storeAs is { } floating && tensor.is_floating_point() ? floating : tensor.dtype;
            if (tensor.is_sparse || SafeTensorsType.Find(type) is not { } stored)
                throw new ArgumentException(
                    $"Tensor {Untrusted.Quote(name)} of type {tensor.dtype} has no form in safetensors.", nameof(tensors));
            if (written.Add(Memory(tensor)))
                items.Add(new(name, tensor, stored));
        }
        return [.. items.OrderByDescending(item => item.Type.Order).ThenBy(item => item.Name, StringComparer.Ordinal)];
    }

    /// <summary>Equal for tensors that are the same elements of the same memory.</summary>
    private static unsafe string Memory(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        if (tensor.numel() == 0)
            return $"empty {tensor.Handle}";
        // TorchSharp shows a CUDA tensor's address for some types only; there, one tensor object under two names is recognized.
        var address = tensor.device_type == DeviceType.CPU
            ? (nint)TensorPointer.Of(tensor)
            : tensor.dtype == ScalarType.Float32 ? tensor.storage<float>().data_ptr() : tensor.Handle;
        return $"{tensor.device} {address} {tensor.storage_offset()} {tensor.dtype} " +
            $"{Untrusted.Format<long>(tensor.shape)} {Untrusted.Format<long>(tensor.stride())}";
    }

    private static byte[] Header(Item[] items, IReadOnlyDictionary<string, string>? metadata)
    {
        using var buffer = new MemoryStream();
        buffer.Write(new byte[SafeTensorsHeader.LengthBytes]);
        using (var json = new Utf8JsonWriter(buffer, PlainText))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            if (metadata is null || !metadata.ContainsKey("format"))
                json.WriteString("format", "pt");
            foreach (var (key, value) in metadata ?? new Dictionary<string, string>())
                json.WriteString(key, value);
            json.WriteEndObject();
            long position = 0;
            foreach (var item in items)
            {
                json.WriteStartObject(item.Name);
                json.WriteString("dtype", item.Type.Name);
                WriteNumbers(json, "shape", item.Tensor.shape);
                WriteNumbers(json, "data_offsets", [position, position += item.Bytes]);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        while (buffer.Length % 8 != 0) // the data then starts at a multiple of 8, as readers that map the file like it
            buffer.WriteByte((byte)' ');
        var header = buffer.ToArray();
        if (header.Length - SafeTensorsHeader.LengthBytes > SafeTensorsHeader.MostBytes)
            throw new ArgumentException(
                $"The header of {header.Length} bytes is over the format's limit: too many tensors or too much metadata.");
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)(header.Length - SafeTensorsHeader.LengthBytes));
        return header;
    }

    private static void WriteNumbers(Utf8JsonWriter json, string name, ReadOnlySpan<long> numbers)
    {
        json.WriteStartArray(name);
        foreach (var number in numbers)
            json.WriteNumberValue(number);
        json.WriteEndArray();
    }
}
