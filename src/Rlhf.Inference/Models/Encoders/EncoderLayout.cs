namespace Rlhf.Models.Encoders;

/// <summary>What an architecture calls its tensors, and where it applies dropout.</summary>
/// <param name="Prefix">Name of the encoder inside the classifier; absent in files saved from the encoder alone.</param>
/// <param name="Layers">Where the layers are numbered.</param>
/// <param name="Query">Projection to queries; the others likewise, each with <c>.weight</c> and <c>.bias</c>.</param>
/// <param name="Key">Projection to keys.</param>
/// <param name="Value">Projection to values.</param>
/// <param name="AttentionOutput">Projection of what attention gathered.</param>
/// <param name="AttentionNorm">Layer norm after attention.</param>
/// <param name="Intermediate">First feed-forward layer.</param>
/// <param name="Output">Second feed-forward layer.</param>
/// <param name="OutputNorm">Layer norm after the feed-forward layers.</param>
/// <param name="DropsAttentionOutput">Dropout follows <paramref name="AttentionOutput"/>; DistilBERT has none there.</param>
internal sealed record EncoderLayout(
    string Prefix, string Layers, string Query, string Key, string Value, string AttentionOutput, string AttentionNorm,
    string Intermediate, string Output, string OutputNorm, bool DropsAttentionOutput)
{
    public static readonly EncoderLayout DistilBert = new("distilbert.", "transformer.layer.",
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm",
        "ffn.lin1", "ffn.lin2", "output_layer_norm", DropsAttentionOutput: false);

    public static readonly EncoderLayout Bert = new("bert.", "encoder.layer.",
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense", "output.dense", "output.LayerNorm", DropsAttentionOutput: true);

    public static readonly EncoderLayout Roberta = Bert with { Prefix = "roberta." };

    /// <summary>
    /// The name under which a checkpoint holds a parameter: also without prefix, and with the gamma and beta of older files.
    /// </summary>
    public string? Find(string parameter, IReadOnlySet<string> checkpoint)
    {
        var bare = parameter.StartsWith(Prefix, StringComparison.Ordinal) ? parameter[Prefix.Length..] : parameter;
        return new[] { parameter, bare, Older(parameter), Older(bare) }.FirstOrDefault(checkpoint.Contains);
    }

    private static string Older(string name) =>
        !name.Contains("norm.", StringComparison.OrdinalIgnoreCase) ? name
        : name.EndsWith(".weight", StringComparison.Ordinal) ? name[..^"weight".Length] + "gamma"
        : name[..^"bias".Length] + "beta";
}
