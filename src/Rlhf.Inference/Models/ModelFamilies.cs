using Rlhf.Models.Decoders;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;

namespace Rlhf.Models;

/// <summary>The families of models that are known: one line each.</summary>
public static class ModelFamilies
{
    private static readonly Lock Guard = new();

    private static IReadOnlyList<ModelFamily> all =
    [
        new Gpt2Family(),
        new LlamaFamily(),
        new MistralFamily(),
        QwenFamily.Qwen2,
        QwenFamily.Qwen3,
        GemmaFamily.Gemma2,
        GemmaFamily.Gemma3,
        new Phi3Family(),
        new GptNeoXFamily(),
        new Olmo2Family(),
        new SmolLM3Family(),
        EncoderFamily.DistilBert,
        EncoderFamily.Bert,
        EncoderFamily.Roberta,
    ];

    /// <summary>All families.</summary>
    public static IReadOnlyList<ModelFamily> All => all;

    /// <summary>Adds a family, such as one of another assembly; one of the same <see cref="ModelFamily.ModelType"/> is replaced.</summary>
    public static void Register(ModelFamily family)
    {
        lock (Guard)
            all = [.. all.Where(f => f.ModelType != family.ModelType), family];
    }

    /// <summary>The family of a <c>model_type</c>, or null.</summary>
    public static ModelFamily? Find(string modelType) => all.FirstOrDefault(f => f.ModelType == modelType);

    /// <summary>The family that a configuration belongs to.</summary>
    /// <exception cref="InvalidDataException">It is not supported; the message lists those that are.</exception>
    public static ModelFamily Of(ModelConfig config)
    {
        bool classifies = config.Root.Texts("architectures") is [var architecture, ..]
            && architecture.EndsWith("ForSequenceClassification", StringComparison.Ordinal);
        return Find(config.ModelType) ?? throw Unknown(config, classifies);
    }

    /// <summary>The family of a language model.</summary>
    /// <exception cref="InvalidDataException">It is not supported, or has no language models.</exception>
    internal static ModelFamily OfCausalLM(ModelConfig config) =>
        Find(config.ModelType) is { HasCausalLM: true } family ? family : throw Unknown(config, classifies: false);

    /// <summary>The family of a classifier.</summary>
    /// <exception cref="InvalidDataException">It is not supported, or has no classifiers.</exception>
    internal static ModelFamily OfClassifier(ModelConfig config) =>
        Find(config.ModelType) is { HasClassifier: true } family ? family : throw Unknown(config, classifies: true);

    private static InvalidDataException Unknown(ModelConfig config, bool classifies) => TextPart(config) is { } text
        ? config.Root.Refuse("model_type", $"'{config.ModelType}' is for texts and pictures; its text model '{text.ModelType}' is read once transformers "
            + $"has saved it alone: {text.Class}.from_pretrained(FOLDER).save_pretrained(OTHER)")
        : config.ModelType.Length == 0
        ? config.Root.Refuse("model_type", "is missing, so that the architecture is unknown; a model that transformers saved has it")
        : config.Root.Refuse("model_type", classifies
            ? $"'{config.ModelType}' is not supported as a classifier or reward model; supported are {List(f => f.HasClassifier)}"
            : $"'{config.ModelType}' is not a language model that is supported; supported language models are {List(f => f.HasCausalLM)}");

    /// <summary>The supported language model that a model of texts and pictures is built around, with the class of transformers that reads it alone.</summary>
    private static (string ModelType, string Class)? TextPart(ModelConfig config) =>
        config.Root.Section("text_config")?.Text("model_type", "") is { Length: > 0 } type && Find(type) is { HasCausalLM: true } family
            && family.NewConfig(new()).Root.Texts("architectures") is [var name, ..] ? (type, name) : null;

    private static string List(Func<ModelFamily, bool> which) =>
        all.Where(which).Select(f => f.ModelType).ToArray() is [.. var first, var last] && first.Length > 0
            ? $"{string.Join(", ", first)} and {last}" : string.Join(", ", all.Where(which).Select(f => f.ModelType));
}
