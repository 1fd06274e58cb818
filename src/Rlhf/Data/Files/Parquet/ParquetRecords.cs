using System.Buffers;
using System.Text.Json;
using Parquet;
using Parquet.Schema;

namespace Rlhf.Data.Files.Parquet;

/// <summary>
/// Puts lists and records together again from the columns that a parquet file stores them in: each value has a repetition level (at which
/// list it begins another item) and a definition level (how much of its path is there), as in Dremel (Melnik et al., VLDB 2010).
/// </summary>
internal static class ParquetRecords
{
    /// <summary>Whether the column is made of lists, records, texts, numbers and booleans.</summary>
    public static bool CanRead(Field? field) => field switch
    {
        DataField { IsArray: false } leaf => ParquetLeaf.Supports(leaf.ClrType),
        ListField list => CanRead(list.Item),
        StructField record => record.Fields.Count > 0 && record.Fields.All(CanRead),
        _ => false,
    };

    /// <summary>The column's rows: null, or a <see cref="JsonElement"/>.</summary>
    /// <param name="rows">The row group.</param>
    /// <param name="field">The column.</param>
    /// <param name="check">Checks a leaf's pages, and says how many values it has.</param>
    /// <exception cref="InvalidDataException">The columns do not fit together.</exception>
    public static async Task<Array> Read(ParquetRowGroupReader rows, Field field, Func<DataField, int> check)
    {
        var leaves = new Dictionary<DataField, ParquetLeaf>();
        foreach (var leaf in Leaves(field))
            leaves.Add(leaf, await ParquetLeaf.Read(rows, leaf, check(leaf)).ConfigureAwait(false));
        var records = new object?[rows.RowCount];
        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { SkipValidation = true });
        for (int row = 0; row < records.Length; row++)
        {
            if (leaves.Values.Any(x => x.Repetition != 0))
                throw new InvalidDataException("the columns of its records have lists of different lengths");
            buffer.ResetWrittenCount();
            json.Reset();
            new Assembly(leaves, json).Write(field);
            json.Flush();
            var reader = new Utf8JsonReader(buffer.WrittenSpan);
            var element = JsonElement.ParseValue(ref reader);
            records[row] = element.ValueKind == JsonValueKind.Null ? null : element;
        }
        return leaves.Values.All(x => x.AtEnd) ? records
            : throw new InvalidDataException("it has more records than rows");
    }

    private static IEnumerable<DataField> Leaves(Field field) => field switch
    {
        DataField leaf => [leaf],
        ListField list => Leaves(list.Item),
        StructField record => record.Fields.SelectMany(Leaves),
        _ => [],
    };

    /// <summary>One record, from where its columns stand.</summary>
    private sealed class Assembly(Dictionary<DataField, ParquetLeaf> leaves, Utf8JsonWriter json)
    {
        public void Write(Field field)
        {
            if (IsMissing(field))
            {
                Skip(field);
                json.WriteNullValue();
                return;
            }
            switch (field)
            {
                case DataField leaf:
                    leaves[leaf].Write(json);
                    break;
                case StructField record:
                    json.WriteStartObject();
                    foreach (var member in record.Fields)
                    {
                        // A table has all fields in every record: one that is missing was not in the original, but for an empty content.
                        if (IsMissing(member) && member.Name != "content")
                        {
                            Skip(member);
                            continue;
                        }
                        json.WritePropertyName(member.Name);
                        Write(member);
                    }
                    json.WriteEndObject();
                    break;
                case ListField list:
                    json.WriteStartArray();
                    var first = leaves[Leaves(list).First()];
                    if (first.Definition < list.MaxDefinitionLevel)
                        Skip(list);
                    else
                        do
                            Write(list.Item);
                        while (first.Repetition == list.MaxRepetitionLevel);
                    json.WriteEndArray();
                    break;
            }
        }

        private bool IsMissing(Field field)
        {
            int definition = leaves[Leaves(field).First()].Definition;
            // A list's own level is that of an item; one below it the list is there and empty.
            return definition < (field is ListField ? field.MaxDefinitionLevel - 1 : field.MaxDefinitionLevel);
        }

        private void Skip(Field field)
        {
            foreach (var leaf in Leaves(field))
                leaves[leaf].Skip();
        }
    }
}
