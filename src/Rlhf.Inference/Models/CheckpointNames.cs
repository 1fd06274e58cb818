namespace Rlhf.Models;

/// <summary>What names of tensors in Hugging Face's checkpoints tell.</summary>
internal static class CheckpointNames
{
    private static readonly string[] Buffers =
        ["attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias", "inv_freq", "position_ids", "position_embeddings.cos",
            "position_embeddings.sin"];

    /// <summary>The number of the block that a tensor belongs to, or null: the first component that is a number.</summary>
    public static int? BlockOf(string name)
    {
        foreach (var part in name.Split('.'))
            if (part.Length is > 0 and < 6 && part.All(char.IsAsciiDigit))
                return int.Parse(part, System.Globalization.CultureInfo.InvariantCulture);
        return null;
    }

    /// <summary>Where a tensor's block is, with # for its number, such as <c>model.layers.#</c>; null outside of blocks.</summary>
    public static string? BlockPattern(string name)
    {
        var parts = name.Split('.');
        int at = Array.FindIndex(parts, p => p.Length > 0 && p.All(char.IsAsciiDigit));
        return at < 0 ? null : string.Join('.', parts[..at]) + ".#";
    }

    /// <summary>Masks and rotation tables that older versions of transformers stored and newer ones compute.</summary>
    public static bool IsBuffer(string name) =>
        Buffers.Any(b => name.EndsWith(b, StringComparison.Ordinal) && (name.Length == b.Length || name[^(b.Length + 1)] is '.' or '_'));

    /// <summary>A critic's head, as TRL stores it beside a language model.</summary>
    public static bool IsValueHead(string name) => name.StartsWith("v_head.", StringComparison.Ordinal);
}
