using Rlhf.Models.Layers;
using Rlhf.Models.Onnx;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

/// <summary>DistilBERT with its classification head: linear, ReLU, dropout, linear on the first token.</summary>
public sealed class DistilBertForSequenceClassification : EncoderForSequenceClassification
{
    private readonly Linear preClassifier, classifier;

    /// <summary>
    /// A model with uninitialized weights; <see cref="SequenceClassifier.Initialize"/> or
    /// <see cref="PretrainedModel.LoadWeights"/> fills them.
    /// </summary>
    /// <exception cref="Runtime.ConfigurationException">The configuration cannot be used.</exception>
    public DistilBertForSequenceClassification(DistilBertConfig config, ComputePlan? plan = null)
        : base(config, EncoderLayout.DistilBert, plan)
    {
        Config = config;
        preClassifier = Linear.Add(Parameters, "pre_classifier", config.HiddenSize, config.HiddenSize);
        classifier = Linear.Add(Parameters, "classifier", config.HiddenSize, config.Labels.Count);
    }

    /// <summary>The configuration.</summary>
    public DistilBertConfig Config { get; }

    /// <inheritdoc/>
    public override string Architecture => "DistilBertForSequenceClassification";

    private protected override IEnumerable<Linear> HeadLinears => [preClassifier, classifier];

    private protected override Tensor Head(Tensor first) =>
        classifier.Apply(Dropout(nn.functional.relu(preClassifier.Apply(first)), Config.ClassifierDropout));

    private protected override OnnxValue Head(OnnxGraph graph, OnnxValue first) =>
        graph.Linear(graph.Activate("relu", graph.Linear(first, preClassifier)), classifier);

    /// <inheritdoc/>
    protected override void InitializeParameter(string name, Tensor parameter, long seed)
    {
        if (Config.SinusoidalPositions && name == "distilbert.embeddings.position_embeddings.weight")
            FillWithSinusoids(parameter);
        else
            base.InitializeParameter(name, parameter, seed);
    }

    /// <summary>Even columns hold sines, odd ones cosines, of position / 10000^(2·⌊column / 2⌋ / D).</summary>
    private static void FillWithSinusoids(Tensor positions)
    {
        long rows = positions.shape[0], width = positions.shape[1];
        var values = new float[rows * width];
        for (long row = 0; row < rows; row++)
            for (long column = 0; column < width; column++)
            {
                double angle = row / Math.Pow(10000, 2.0 * (column / 2) / width);
                values[row * width + column] = (float)(column % 2 == 0 ? Math.Sin(angle) : Math.Cos(angle));
            }
        using var table = tensor(values, [rows, width]);
        positions.copy_(table);
    }
}
