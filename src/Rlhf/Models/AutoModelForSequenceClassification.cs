using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Weights;
using TorchSharp;

namespace Rlhf.Models;

/// <summary>Builds the classifier that a model folder's config.json names.</summary>
public static class AutoModelForSequenceClassification
{
    /// <summary>Loads a model folder: config.json and weights under Hugging Face's names.</summary>
    /// <param name="folder">The model folder.</param>
    /// <param name="device">Where the model computes; null is the CPU.</param>
    /// <param name="newHead">A head to train, for a checkpoint without one; null requires the checkpoint's own.</param>
    /// <exception cref="FileNotFoundException">config.json or the weights are absent.</exception>
    /// <exception cref="InvalidDataException">A file is malformed, describes a model that cannot be
    /// built, or lacks weights.</exception>
    public static SequenceClassifier FromPretrained(string folder, torch.Device? device = null, NewHead? newHead = null)
    {
        var config = ReadConfig(folder);
        if (newHead is not null)
            config = config with { Labels = newHead.Labels, ProblemType = newHead.ProblemType };
        if (newHead is not null && config is Gpt2ClassifierConfig { PadTokenId: null } gpt2)
            config = gpt2 with { PadTokenId = gpt2.Trunk.EosTokenId };
        using var weights = WeightFiles.Open(folder);
        weights.RequireAtLeast(config.ParameterCount, folder);
        var model = FromConfig(config, device);
        try
        {
            if (newHead is null)
                model.LoadWeights(weights);
            else
                model.LoadWeightsUnderNewHead(weights, newHead.Seed);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>The model of a folder's config.json with uninitialised weights.</summary>
    /// <exception cref="InvalidDataException">The file is malformed, or describes a model that cannot be built.</exception>
    public static SequenceClassifier FromConfig(string folder, torch.Device? device = null) =>
        FromConfig(ReadConfig(folder), device);

    /// <summary>Label names that the config.json of a folder gives, by index.</summary>
    /// <exception cref="FileNotFoundException">config.json is absent.</exception>
    /// <exception cref="InvalidDataException">The file is malformed.</exception>
    public static IReadOnlyList<string> Labels(string folder) => LabelMaps.Read(ConfigFile.Read(folder));

    /// <summary>A model with uninitialised weights.</summary>
    /// <exception cref="Runtime.ConfigurationException">The configuration cannot be used.</exception>
    public static SequenceClassifier FromConfig(ClassifierConfig config, torch.Device? device = null) => config switch
    {
        DistilBertConfig distilBert => new DistilBertForSequenceClassification(distilBert, device),
        RobertaConfig roberta => new RobertaForSequenceClassification(roberta, device),
        BertConfig bert => new BertForSequenceClassification(bert, device),
        Gpt2ClassifierConfig gpt2 => new Gpt2ForSequenceClassification(gpt2, device),
        _ => throw new ArgumentException($"There is no classifier for {config.GetType().Name}."),
    };

    private static ClassifierConfig ReadConfig(string folder) => ReadConfig(ConfigFile.Read(folder));

    internal static ClassifierConfig ReadConfig(ConfigFile json) => json.Text("model_type", "") switch
    {
        "distilbert" => DistilBertConfig.Load(json),
        "bert" => BertConfig.Load(json),
        "roberta" => RobertaConfig.Load(json),
        "gpt2" => Gpt2ClassifierConfig.Load(json),
        var other => throw json.Refuse("model_type",
            $"'{other}' is not supported here; classifiers are distilbert, bert, roberta and gpt2"),
    };
}
