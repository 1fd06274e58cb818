using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Parquet;
using Parquet.Schema;
using Rlhf.Runtime.Text;

namespace Rlhf.Data.Files.Parquet;

/// <summary>Reads the wanted columns of a parquet file, one row group in memory at a time.</summary>
internal static class ParquetTable
{
    // A hostile footer can claim anything; these bound what is allocated before a page has been seen.
    private const int MaxGroupRows = 20_000_000;
    private const long MaxGroupBytes = int.MaxValue;
    private const int RowBytes = 32; // of one column: the value, that it is there, and what is made of it

    public static IEnumerable<TableRow> Read(Stream stream, string file, IReadOnlyList<TableColumn> columns, OtherColumns kept = OtherColumns.None)
    {
        var bounded = new CheckedStream(stream);
        var allowance = new ParquetAllowance(stream.Length);
        var reader = Guard(file, () =>
        {
            ParquetCheck.Footer(bounded);
            return ParquetReader.CreateAsync(bounded, new ParquetOptions { TreatByteArrayAsString = true });
        });
        try
        {
            var fields = Guard(file, () => Task.FromResult(columns.Select(c => Field(file, reader.Schema, c)).ToArray()));
            var others = Guard(file, () => Task.FromResult(Others(file, reader.Schema, fields, kept)));
            fields = [.. fields, .. others];
            long number = 0;
            for (int group = 0; group < reader.RowGroupCount; group++)
            {
                var cells = Guard(file, () => ReadGroup(file, bounded, allowance, reader, group, fields));
                int rows = cells.Max(c => c?.Length ?? 0);
                for (int row = 0; row < rows; row++)
                    yield return new TableRow([.. cells.Take(columns.Count).Select(c => c?.GetValue(row))], file, "row", ++number)
                    {
                        Others = kept == OtherColumns.None ? null : [.. others.Select((field, i) =>
                            KeyValuePair.Create(field.Name, AsJson(cells[columns.Count + i]?.GetValue(row))))],
                    };
            }
        }
        finally
        {
            reader.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }

    private static Field? Field(string file, ParquetSchema schema, TableColumn column)
    {
        var name = column.FindIn(file, [.. schema.Fields.Select(f => f.Name)]);
        return schema.Fields.FirstOrDefault(f => f.Name == name) switch
        {
            null => null,
            DataField field when !field.IsArray => field,
            var field when column.TakesLists && ParquetRecords.CanRead(field) => field,
            _ => throw new InvalidDataException(
                $"{file}: column {UntrustedText.Quote(name)} holds lists or records, but the {column.Role} must be a plain column; "
                + "write it as text first."),
        };
    }

    private static Field[] Others(string file, ParquetSchema schema, Field?[] wanted, OtherColumns kept)
    {
        var others = schema.Fields.Where(field => wanted.All(w => w?.Name != field.Name));
        return kept switch
        {
            OtherColumns.All => [.. others.Select(field => field is DataField { IsArray: false } plain ? plain
                : throw new InvalidDataException($"{file}: column {UntrustedText.Quote(field.Name)} holds lists or records, which cannot be "
                    + "kept here; write the table as JSON lines, or without that column."))],
            OtherColumns.Readable => [.. others.Where(field => field is DataField { IsArray: false } plain ? IsReadable(plain) : ParquetRecords.CanRead(field))],
            _ => [],
        };
    }

    private static JsonNode? AsJson(object? cell) => cell switch
    {
        double number when !double.IsFinite(number) => null,
        _ => JsonSerializer.SerializeToNode(cell),
    };

    private static async Task<Array?[]> ReadGroup(
        string file, CheckedStream stream, ParquetAllowance allowance, ParquetReader reader, int group, Field?[] fields)
    {
        using var rows = reader.OpenRowGroupReader(group);
        if (rows.RowCount is < 0 or > MaxGroupRows)
            throw new InvalidDataException(
                $"{file}: row group {group} claims {rows.RowCount:N0} rows, and at most {MaxGroupRows:N0} are read at once. "
                + "Write smaller row groups.");
        var cells = new Array?[fields.Length];
        for (int i = 0; i < fields.Length; i++)
        {
            if (fields[i] is DataField { IsArray: false } plain)
            {
                Check(file, stream, allowance, rows, group, plain, isNested: false);
                cells[i] = await ReadColumn(file, rows, plain, (int)rows.RowCount).ConfigureAwait(false);
            }
            else if (fields[i] is { } field)
                cells[i] = await ParquetRecords.Read(rows, field,
                    leaf => Check(file, stream, allowance, rows, group, leaf, isNested: true)).ConfigureAwait(false);
        }
        return cells;
    }

    /// <summary>Checks the pages of a column before the library reads them; the number of its values.</summary>
    private static int Check(
        string file, CheckedStream stream, ParquetAllowance allowance, ParquetRowGroupReader rows, int group, DataField field, bool isNested)
    {
        var chunk = rows.GetMetadata(field)?.MetaData
            ?? throw new InvalidDataException($"{file}: row group {group} lacks the column {UntrustedText.Quote(field.Name)}.");
        if (isNested ? chunk.NumValues is < 0 or > MaxGroupRows || chunk.NumValues < rows.RowCount : chunk.NumValues != rows.RowCount)
            throw new InvalidDataException($"{file}: column {UntrustedText.Quote(field.Name)} of row group {group} claims "
                + $"{chunk.NumValues:N0} values for {rows.RowCount:N0} rows.");
        if (chunk.TotalUncompressedSize is < 0 or > MaxGroupBytes)
            throw new InvalidDataException($"{file}: column {UntrustedText.Quote(field.Name)} of row group {group} claims "
                + $"{chunk.TotalUncompressedSize:N0} bytes. Write smaller row groups.");
        try
        {
            allowance.Take(chunk.NumValues * RowBytes, $"{chunk.NumValues:N0} rows");
            ParquetCheck.Pages(stream, chunk, field.IsNullable, allowance, isNested);
        }
        catch (InvalidDataException error)
        {
            throw new InvalidDataException($"column {UntrustedText.Quote(field.Name)} of row group {group}: {error.Message}", error);
        }
        return (int)chunk.NumValues;
    }

    /// <summary>Does <see cref="ReadColumn"/> know the type?</summary>
    private static bool IsReadable(DataField field) => Type.GetTypeCode(field.ClrType) switch
    {
        TypeCode.Object => field.ClrType == typeof(ReadOnlyMemory<char>),
        TypeCode.UInt64 or TypeCode.Char or TypeCode.DBNull or TypeCode.Empty => false,
        _ => true,
    };

    private static Task<Array> ReadColumn(string file, ParquetRowGroupReader rows, DataField field, int count) =>
        Type.GetTypeCode(field.ClrType) switch
        {
            TypeCode.Object when field.ClrType == typeof(ReadOnlyMemory<char>) => ReadTexts(rows, field, count),
            TypeCode.String => ReadTexts(rows, field, count),
            TypeCode.Int64 => ReadValues<long>(rows, field, count, v => v),
            TypeCode.Int32 => ReadValues<int>(rows, field, count, v => (long)v),
            TypeCode.Int16 => ReadValues<short>(rows, field, count, v => (long)v),
            TypeCode.SByte => ReadValues<sbyte>(rows, field, count, v => (long)v),
            TypeCode.Byte => ReadValues<byte>(rows, field, count, v => (long)v),
            TypeCode.UInt16 => ReadValues<ushort>(rows, field, count, v => (long)v),
            TypeCode.UInt32 => ReadValues<uint>(rows, field, count, v => (long)v),
            TypeCode.Boolean => ReadValues<bool>(rows, field, count, v => v),
            TypeCode.Single => ReadValues<float>(rows, field, count, v => (double)v),
            TypeCode.Double => ReadValues<double>(rows, field, count, v => v),
            TypeCode.DateTime => ReadValues<DateTime>(rows, field, count, v => v.ToString("o", CultureInfo.InvariantCulture)),
            TypeCode.Decimal => ReadValues<decimal>(rows, field, count, v => v.ToString(CultureInfo.InvariantCulture)),
            _ => throw new InvalidDataException(
                $"{file}: column {UntrustedText.Quote(field.Name)} has the type {field.ClrType.Name}; "
                + "text, integers, floating-point numbers and booleans are read."),
        };

    /// <summary>A text that stands in the column's dictionary is made once, however many rows have it.</summary>
    private static Task<Array> ReadTexts(ParquetRowGroupReader rows, DataField field, int count)
    {
        var made = new Dictionary<ReadOnlyMemory<char>, string>(); // by place, not by content
        return ReadValues<ReadOnlyMemory<char>>(rows, field, count, v =>
            made.TryGetValue(v, out var text) ? text : made[v] = new string(v.Span));
    }

    private static async Task<Array> ReadValues<T>(ParquetRowGroupReader rows, DataField field, int count, Func<T, object> widen)
        where T : struct
    {
        var values = new T?[count];
        if (field.IsNullable)
            await rows.ReadAsync(field, values.AsMemory()).ConfigureAwait(false);
        else
        {
            var plain = new T[count];
            await rows.ReadAsync(field, plain.AsMemory()).ConfigureAwait(false);
            for (int i = 0; i < count; i++)
                values[i] = plain[i];
        }
        return Array.ConvertAll(values, v => v is { } value ? widen(value) : null);
    }

    /// <summary>
    /// Runs a call of the parquet library; what it throws over a broken file becomes one sentence with the file's name.
    /// </summary>
    private static T Guard<T>(string file, Func<Task<T>> read)
    {
        try
        {
            // On the pool: no synchronization context of the caller can block the library's continuations.
            return Task.Run(read).GetAwaiter().GetResult();
        }
        catch (Exception error) when (error is not InvalidDataException || !error.Message.StartsWith(file))
        {
            // The library throws whatever a wrong number in the file leads to: format, index, overflow, memory, ...
            throw new InvalidDataException(
                $"{file} is not a parquet file that can be read ({UntrustedText.Clean(error.Message).TrimEnd('.')}); "
                + "write or download it again.",
                error);
        }
    }
}
