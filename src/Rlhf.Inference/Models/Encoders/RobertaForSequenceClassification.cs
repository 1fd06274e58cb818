using Rlhf.Models.Layers;
using Rlhf.Models.Onnx;
using Rlhf.Runtime;
using static TorchSharp.torch;

namespace Rlhf.Models.Encoders;

/// <summary>RoBERTa with its classification head: dropout, linear, tanh, dropout, linear on the first token.</summary>
public sealed class RobertaForSequenceClassification : EncoderForSequenceClassification
{
    private readonly Linear dense, output;

    /// <summary>
    /// A model with uninitialized weights; <see cref="SequenceClassifier.Initialize"/> or
    /// <see cref="PretrainedModel.LoadWeights"/> fills them.
    /// </summary>
    /// <exception cref="Runtime.ConfigurationException">The configuration cannot be used.</exception>
    public RobertaForSequenceClassification(RobertaConfig config, ComputePlan? plan = null)
        : base(config, EncoderLayout.Roberta, plan)
    {
        Config = config;
        dense = Linear.Add(Parameters, "classifier.dense", config.HiddenSize, config.HiddenSize);
        output = Linear.Add(Parameters, "classifier.out_proj", config.HiddenSize, config.Labels.Count);
    }

    /// <summary>The configuration.</summary>
    public RobertaConfig Config { get; }

    /// <inheritdoc/>
    public override string Architecture => "RobertaForSequenceClassification";

    private protected override IEnumerable<Linear> HeadLinears => [dense, output];

    private protected override Tensor Head(Tensor first) =>
        output.Apply(Dropout(dense.Apply(Dropout(first, Config.ClassifierDropout)).tanh(), Config.ClassifierDropout));

    private protected override OnnxValue Head(OnnxGraph graph, OnnxValue first) =>
        graph.Linear(graph.Activate("tanh", graph.Linear(first, dense)), output);

    private protected override OnnxValue PositionIds(OnnxGraph graph, OnnxRows rows)
    {
        var padding = graph.Long(Config.PadTokenId);
        var counted = graph.And(rows.Valid, graph.Node("Not", [graph.Node("Equal", [rows.Ids, padding])]));
        var count = graph.Node("CumSum", [graph.Cast(counted, OnnxType.Int64), graph.Long(1)]);
        return graph.Where(counted, graph.Add(count, padding), padding);
    }

    /// <summary>
    /// Positions count the tokens that are not padding, from the padding token's id + 1; padding has its own id as position.
    /// </summary>
    private protected override Tensor PositionIds(PackedBatch batch)
    {
        int padding = Config.PadTokenId;
        var positions = new long[batch.TokenCount];
        for (int b = 0; b < batch.RowCount; b++)
        {
            long count = padding;
            for (int i = batch.Offsets[b]; i < batch.Offsets[b + 1]; i++)
                positions[i] = batch.HostIds[i] == padding ? padding : ++count;
        }
        return tensor(positions, int64, batch.Device);
    }

    /// <inheritdoc/>
    protected override void InitializeParameter(string name, Tensor parameter, long seed)
    {
        base.InitializeParameter(name, parameter, seed);
        if (name == "roberta.embeddings.position_embeddings.weight")
            parameter.narrow(0, Config.PadTokenId, 1).zero_();
    }
}
