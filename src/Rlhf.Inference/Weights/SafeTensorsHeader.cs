using System.Text.Json;
using System.Text.Unicode;

namespace Rlhf.Weights;

/// <summary>One tensor of a safetensors header; offsets are relative to the data.</summary>
internal sealed record SafeTensorsEntry(string Name, SafeTensorsType Type, ulong[] Shape, ulong Begin, ulong End);

/// <summary>The header of a safetensors file, checked as the reference reader checks it.</summary>
internal sealed class SafeTensorsHeader
{
    /// <summary>The format's limit on the header.</summary>
    public const int MostBytes = 100_000_000;

    /// <summary>Bytes of the length field before the header.</summary>
    public const int LengthBytes = 8;

    private const int MostDepth = 127;

    private readonly string path;

    private SafeTensorsHeader(string path) => this.path = path;

    public Dictionary<string, SafeTensorsEntry> Tensors { get; } = [];

    public Dictionary<string, string> Metadata { get; } = [];

    /// <summary>Parses a header and checks that its tensors cover the data exactly.</summary>
    /// <exception cref="InvalidDataException">Anything is not as the format has it.</exception>
    public static SafeTensorsHeader Parse(ReadOnlySpan<byte> json, long dataLength, string path)
    {
        var header = new SafeTensorsHeader(path);
        if (!Utf8.IsValid(json))
            throw header.Refuse("is not valid UTF-8.");
        var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = MostDepth });
        try
        {
            header.Read(ref reader);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw header.Refuse($"is not valid JSON near byte {LengthBytes + reader.BytesConsumed}.");
        }
        header.RequireCoverage(dataLength);
        return header;
    }

    private InvalidDataException Refuse(string what) => Untrusted.Refuse(path, $"the safetensors header {what}");

    private InvalidDataException Refuse(string name, string what) =>
        Refuse($"describes tensor {Untrusted.Quote(name)} wrongly: {what}");

    private void Read(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Refuse("must be a JSON object.");
        var hasMetadata = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (name != "__metadata__")
                Tensors[name] = ReadTensor(ref reader, name); // of a repeated name the last entry counts
            else if (hasMetadata)
                throw Refuse("has __metadata__ twice.");
            else
            {
                ReadMetadata(ref reader);
                hasMetadata = true;
            }
        }
        reader.Read(); // throws when anything but white space follows
    }

    private void ReadMetadata(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null)
            return;
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Refuse("has a __metadata__ that is not an object.");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw Refuse($"has a __metadata__ value for {Untrusted.Quote(key)} that is not a string.");
            Metadata[key] = reader.GetString()!;
        }
    }

    private SafeTensorsEntry ReadTensor(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Refuse(name, "its entry must be an object.");
        SafeTensorsType? type = null;
        ulong[]? shape = null;
        ulong[]? offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var field = reader.GetString()!;
            reader.Read();
            if (field == "dtype")
                Once(ref type, ReadType(ref reader, name), name, field);
            else if (field == "shape")
                Once(ref shape, ReadNumbers(ref reader, name, field), name, field);
            else if (field == "data_offsets")
                Once(ref offsets, ReadNumbers(ref reader, name, field), name, field);
            else
                reader.Skip();
        }
        if (type is null)
            throw Refuse(name, "dtype is missing.");
        if (shape is null)
            throw Refuse(name, "shape is missing.");
        if (offsets is null)
            throw Refuse(name, "data_offsets is missing.");
        if (offsets.Length != 2)
            throw Refuse(name, $"data_offsets must be two numbers, but there are {offsets.Length}.");
        return new(name, type, shape, offsets[0], offsets[1]);
    }

    private void Once<T>(ref T? field, T value, string name, string fieldName) where T : class =>
        field = field is null ? value : throw Refuse(name, $"{fieldName} is there twice.");

    private SafeTensorsType ReadType(ref Utf8JsonReader reader, string name)
    {
        if (reader.TokenType != JsonTokenType.String)
            throw Refuse(name, "dtype must be a string.");
        var text = reader.GetString()!;
        return SafeTensorsType.Find(text)
            ?? throw Refuse(name, $"dtype {Untrusted.Quote(text)} is unknown; the format has {SafeTensorsType.Names}.");
    }

    private ulong[] ReadNumbers(ref Utf8JsonReader reader, string name, string field)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Refuse(name, $"{field} must be an array of whole numbers.");
        var numbers = new List<ulong>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetUInt64(out var number))
                throw Refuse(name, $"{field} must hold whole numbers from 0 to {ulong.MaxValue}.");
            if (numbers.Count == Untrusted.MostDimensions)
                throw Refuse(name, $"{field} has more than {Untrusted.MostDimensions} numbers.");
            numbers.Add(number);
        }
        return [.. numbers];
    }

    /// <summary>
    /// Sorted by place, the tensors must start at 0, follow one another without holes or overlap, and end with the data.
    /// </summary>
    private void RequireCoverage(long dataLength)
    {
        ulong position = 0;
        foreach (var tensor in Tensors.Values.OrderBy(tensor => tensor.Begin).ThenBy(tensor => tensor.End))
        {
            if (tensor.Begin != position)
                throw Refuse(tensor.Name, $"data_offsets [{tensor.Begin}, {tensor.End}] " +
                    $"{(tensor.Begin > position ? "leave a hole" : "overlap another tensor")}; they must begin at {position}.");
            if (tensor.End < tensor.Begin)
                throw Refuse(tensor.Name, $"data_offsets [{tensor.Begin}, {tensor.End}] end before they begin.");
            if (tensor.End > (ulong)dataLength)
                throw Refuse(tensor.Name, $"data_offsets [{tensor.Begin}, {tensor.End}] end past the data's {dataLength} bytes.");
            var bytes = ByteCount(tensor);
            if (tensor.End - tensor.Begin != bytes)
                throw Refuse(tensor.Name,
                    $"its shape {Untrusted.Format<ulong>(tensor.Shape)} of {tensor.Type.Name} takes {bytes} bytes, " +
                    $"but data_offsets [{tensor.Begin}, {tensor.End}] give {tensor.End - tensor.Begin}.");
            position = tensor.End;
        }
        if (position != (ulong)dataLength)
            throw Untrusted.Refuse(path,
                $"the tensors take {position} bytes, but {dataLength} follow the header; the file is damaged.");
    }

    private ulong ByteCount(SafeTensorsEntry tensor)
    {
        try
        {
            var elements = tensor.Shape.Aggregate(1UL, (product, dimension) => checked(product * dimension));
            var bits = checked(elements * (ulong)tensor.Type.Bits);
            return bits % 8 == 0 ? bits / 8 : throw Refuse(tensor.Name, $"its {bits} bits are not whole bytes.");
        }
        catch (OverflowException)
        {
            throw Refuse(tensor.Name, $"shape {Untrusted.Format<ulong>(tensor.Shape)} is larger than any file.");
        }
    }
}
