using Rlhf.Models.Layers;
using Rlhf.Models.Onnx;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

/// <summary>BERT with its classification head: pooler (linear, tanh), dropout, linear on the first token.</summary>
public sealed class BertForSequenceClassification : EncoderForSequenceClassification
{
    private readonly Linear pooler, classifier;

    /// <summary>
    /// A model with uninitialized weights; <see cref="SequenceClassifier.Initialize"/> or
    /// <see cref="PretrainedModel.LoadWeights"/> fills them.
    /// </summary>
    /// <exception cref="Runtime.ConfigurationException">The configuration cannot be used.</exception>
    public BertForSequenceClassification(BertConfig config, ComputePlan? plan = null) : base(config, EncoderLayout.Bert, plan)
    {
        Config = config;
        pooler = Linear.Add(Parameters, "bert.pooler.dense", config.HiddenSize, config.HiddenSize);
        classifier = Linear.Add(Parameters, "classifier", config.HiddenSize, config.Labels.Count);
    }

    /// <summary>The configuration.</summary>
    public BertConfig Config { get; }

    /// <inheritdoc/>
    public override string Architecture => "BertForSequenceClassification";

    private protected override IEnumerable<Linear> HeadLinears => [pooler, classifier];

    private protected override Tensor Head(Tensor first) =>
        classifier.Apply(Dropout(pooler.Apply(first).tanh(), Config.ClassifierDropout));

    private protected override OnnxValue Head(OnnxGraph graph, OnnxValue first) =>
        graph.Linear(graph.Activate("tanh", graph.Linear(first, pooler)), classifier);

    /// <summary>A checkpoint of a masked language model has no pooler.</summary>
    protected override bool ComesWithHead(string parameter) => parameter.StartsWith("bert.pooler.", StringComparison.Ordinal);
}
