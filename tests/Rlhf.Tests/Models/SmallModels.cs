using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;

namespace Rlhf.Tests.Models;

/// <summary>Configurations and models of tests, from the families' own settings.</summary>
internal static class SmallModels
{
    public static ModelConfig Config(this Gpt2Config config) => ModelConfig.Of(config.ToJson());

    public static ModelConfig Config(this EncoderConfig config) => ModelConfig.Of(config.ToJson());

    /// <summary>GPT-2 with a head for classification, uninitialized.</summary>
    public static SequenceClassifier Gpt2Classifier(Gpt2Config config, int? pad = null, IReadOnlyList<string>? labels = null) =>
        AutoModelForSequenceClassification.FromConfig(
            LabelMaps.With(config.Config(), labels ?? ["NEGATIVE", "POSITIVE"], null).With("pad_token_id", pad));
}
