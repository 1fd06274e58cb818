using System.Text;
using System.Text.Json;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;

namespace Rlhf.Tokenizers;

/// <summary>A value in a JSON file that knows where it stands, so that every complaint names file and place.</summary>
internal readonly record struct JsonPlace(JsonElement Value, string File, string Path)
{
    /// <summary>
    /// No tokenizer file is larger; the largest published ones, for a quarter of a million tokens, have about 35 MB.
    /// </summary>
    public const int SizeLimit = 64 << 20;

    public JsonValueKind Kind => Value.ValueKind;

    /// <summary>The object that a file holds; null when the file does not exist.</summary>
    public static JsonPlace? ReadObject(string file)
    {
        if (!System.IO.File.Exists(file))
            return null;
        return ParseObject(BoundedFile.Read(file, SizeLimit, "a tokenizer file"), file);
    }

    /// <summary>The object in a file's content; the name is for messages.</summary>
    public static JsonPlace ParseObject(ReadOnlyMemory<byte> content, string file)
    {
        if (content.Span.StartsWith(Encoding.UTF8.Preamble))
            content = content[Encoding.UTF8.Preamble.Length..];
        try
        {
            UntrustedJson.Check(content.Span);
            // Not disposed: what was read stays with the elements. A copy of 35 MB would take as long as reading it.
            var root = new JsonPlace(JsonDocument.Parse(content).RootElement, file, "");
            return root.Kind == JsonValueKind.Object ? root : throw root.Wrong("must be a JSON object");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{file} is not valid JSON: {UntrustedText.Place(e)}.", e);
        }
    }

    /// <summary>A member, or null when it is absent or JSON's null.</summary>
    public JsonPlace? this[string name] =>
        Kind != JsonValueKind.Object ? throw Wrong("must be an object")
        : Value.TryGetProperty(name, out var member) && member.ValueKind != JsonValueKind.Null ? At(member, name) : null;

    /// <summary>The member is there, be it with the value null.</summary>
    public bool Has(string name) => Kind == JsonValueKind.Object && Value.TryGetProperty(name, out _);

    /// <summary>A member that must be there.</summary>
    public JsonPlace Required(string name) => this[name] ?? throw Wrong($"lacks '{name}'");

    public IEnumerable<(string Name, JsonPlace Value)> Members()
    {
        if (Kind != JsonValueKind.Object)
            throw Wrong("must be an object");
        foreach (var member in Value.EnumerateObject())
            yield return (member.Name, At(member.Value, ShortName(member.Name)));
    }

    public IEnumerable<JsonPlace> Items()
    {
        if (Kind != JsonValueKind.Array)
            throw Wrong("must be a list");
        int index = 0;
        foreach (var item in Value.EnumerateArray())
            yield return this with { Value = item, Path = $"{Path}[{index++}]" };
    }

    public string Text() => Kind == JsonValueKind.String ? Value.GetString()! : throw Wrong("must be a text");

    public bool Flag() => Kind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong("must be true or false"),
    };

    public bool Flag(string name, bool otherwise = false) => this[name]?.Flag() ?? otherwise;

    public string? Text(string name) => this[name]?.Text();

    /// <summary>A token id: a whole number from 0.</summary>
    public int Id() =>
        Kind == JsonValueKind.Number && Value.TryGetInt32(out int id) && id >= 0 ? id : throw Wrong("must be a token id");

    /// <summary>A whole number that may be huge (1e30 means no limit).</summary>
    public int Limit() => Kind == JsonValueKind.Number && Value.TryGetDouble(out double limit) && limit >= 1
        ? (int)Math.Min(limit, int.MaxValue) : throw Wrong("must be a number of at least 1");

    public InvalidDataException Wrong(string what) => new(
        $"{File}: {(Path.Length == 0 ? "the file" : UntrustedText.Clean(Path))} {UntrustedText.Clean(what)}.");

    private JsonPlace At(JsonElement value, string name) =>
        this with { Value = value, Path = Path.Length == 0 ? name : $"{Path}.{name}" };

    private static string ShortName(string name) => name.Length <= 40 ? name : name[..40] + "…";
}
