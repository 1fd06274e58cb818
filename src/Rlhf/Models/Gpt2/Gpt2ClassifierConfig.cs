namespace Rlhf.Models.Gpt2;

/// <summary>GPT-2's config.json with the labels of a classifier.</summary>
/// <param name="Trunk">The language model's part.</param>
public sealed record Gpt2ClassifierConfig(Gpt2Config Trunk) : ClassifierConfig
{
    /// <summary>
    /// Padding token: the head reads the last token of a row that is not this one. Null reads the last token; transformers
    /// then takes one row at a time.
    /// </summary>
    public int? PadTokenId { get; init; }

    /// <inheritdoc/>
    public override long ParameterCount => Trunk.ParameterCount;

    /// <inheritdoc/>
    public override IEnumerable<string> Validate()
    {
        foreach (var problem in base.Validate())
            yield return problem;
        if (PadTokenId is { } pad && (pad < 0 || pad >= Trunk.VocabSize))
            yield return $"The padding token {pad} is outside the vocabulary of {Trunk.VocabSize}.";
    }

    /// <summary>Reads config.json of a model folder.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static Gpt2ClassifierConfig Load(string folder) => Load(ConfigFile.Read(folder));

    internal static Gpt2ClassifierConfig Load(ConfigFile json) => Check(json, new Gpt2ClassifierConfig(Gpt2Config.Load(json))
    {
        PadTokenId = json.OptionalInt("pad_token_id", 0, ConfigFile.MaxVocabulary),
        Labels = LabelMaps.Read(json),
        ProblemType = LabelMaps.ReadProblemType(json),
    });

    /// <summary>Writes config.json.</summary>
    public void Save(string folder, string architecture)
    {
        var json = Trunk.ToJson(architecture);
        json["pad_token_id"] = PadTokenId;
        LabelMaps.Write(json, Labels, ProblemType);
        ConfigFile.Write(Path.Combine(folder, "config.json"), json);
    }
}
