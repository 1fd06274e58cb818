using System.Text.Json;

namespace Rlhf.Runtime.Text;

/// <summary>What .NET's JSON reader leaves open in JSON from outside.</summary>
internal static class UntrustedJson
{
    private const int MaxDepth = 64;

    /// <summary>
    /// Decodes every text and name once, which the library does only when one is asked for: halves of surrogate pairs and bytes
    /// that are not UTF-8 would throw then, wherever that is.
    /// </summary>
    /// <exception cref="JsonException">
    /// The content is not JSON, is nested too deeply, or holds text that is not Unicode.
    /// </exception>
    public static void Check(ReadOnlySpan<byte> content, int maxDepth = MaxDepth)
    {
        var reader = new Utf8JsonReader(content, new JsonReaderOptions { MaxDepth = maxDepth });
        try
        {
            while (reader.Read())
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                    _ = reader.GetString();
        }
        catch (InvalidOperationException e)
        {
            var before = content[..(int)reader.TokenStartIndex];
            int column = before.Length - 1 - before.LastIndexOf((byte)'\n');
            throw new JsonException("A text is not valid Unicode.", null, before.Count((byte)'\n'), column, e);
        }
    }
}
