using System.Text.Json;
using Parquet;
using Parquet.Schema;

namespace Rlhf.Data.Files.Parquet;

/// <summary>A column of values with the levels that place them in records, read from its beginning to its end.</summary>
internal sealed class ParquetLeaf
{
    private readonly int[] _definitions;
    private readonly int[] _repetitions;
    private readonly Action<Utf8JsonWriter, int> _write;
    private readonly int _maxDefinition;
    private int _at;
    private int _value;

    private ParquetLeaf(int[] definitions, int[] repetitions, int maxDefinition, Action<Utf8JsonWriter, int> write) =>
        (_definitions, _repetitions, _maxDefinition, _write) = (definitions, repetitions, maxDefinition, write);

    /// <summary>All values have been read.</summary>
    public bool AtEnd => _at == _definitions.Length;

    /// <summary>The next value's repetition level: 0 begins a record; also at the end.</summary>
    public int Repetition => AtEnd ? 0 : _repetitions[_at];

    /// <summary>The next value's definition level.</summary>
    /// <exception cref="InvalidDataException">There is no next value.</exception>
    public int Definition => AtEnd ? throw new InvalidDataException("it has fewer records than rows") : _definitions[_at];

    public static bool Supports(Type type) => Type.GetTypeCode(type) is >= TypeCode.Boolean and <= TypeCode.Double and not (TypeCode.Char or TypeCode.UInt64)
        || type == typeof(ReadOnlyMemory<char>);

    /// <summary>Reads a column of a number of values.</summary>
    public static Task<ParquetLeaf> Read(ParquetRowGroupReader rows, DataField field, int count) => Type.GetTypeCode(field.ClrType) switch
    {
        TypeCode.Boolean => Read<bool>(rows, field, count, (json, x) => json.WriteBooleanValue(x)),
        TypeCode.SByte => Read<sbyte>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.Byte => Read<byte>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.Int16 => Read<short>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.UInt16 => Read<ushort>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.Int32 => Read<int>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.UInt32 => Read<uint>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.Int64 => Read<long>(rows, field, count, (json, x) => json.WriteNumberValue(x)),
        TypeCode.Single => Read<float>(rows, field, count, (json, x) => WriteFloat(json, x)),
        TypeCode.Double => Read<double>(rows, field, count, WriteFloat),
        _ => Read<ReadOnlyMemory<char>>(rows, field, count, (json, x) => json.WriteStringValue(x.Span)),
    };

    /// <summary>Writes the next value, which is there.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public void Write(Utf8JsonWriter json)
    {
        if (Definition != _maxDefinition)
            throw new InvalidDataException("a value is missing where there must be one");
        _write(json, _value++);
        _at++;
    }

    /// <summary>Passes over the next place, where nothing is.</summary>
    public void Skip()
    {
        if (Definition == _maxDefinition)
            _value++;
        _at++;
    }

    private static async Task<ParquetLeaf> Read<T>(ParquetRowGroupReader rows, DataField field, int count, Action<Utf8JsonWriter, T> write)
        where T : struct
    {
        var values = new T[count];
        int[] definitions = new int[count], repetitions = new int[count];
        await rows.ReadRawAsync<T>(field, values, field.MaxDefinitionLevel > 0 ? definitions.AsMemory() : null,
            field.MaxRepetitionLevel > 0 ? repetitions.AsMemory() : null).ConfigureAwait(false);
        return new(definitions, repetitions, field.MaxDefinitionLevel, (json, i) => write(json, values[i]));
    }

    /// <summary>What JSON has no number for is null.</summary>
    private static void WriteFloat(Utf8JsonWriter json, double value)
    {
        if (double.IsFinite(value))
            json.WriteNumberValue(value);
        else
            json.WriteNullValue();
    }
}
