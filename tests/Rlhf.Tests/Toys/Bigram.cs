using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Layers;
using Rlhf.Runtime;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Tests.Toys;

/// <summary>Predicts the next token from the last one alone.</summary>
public sealed class Bigram : CausalLM
{
    private readonly ModelConfig config;
    private readonly Parameter table;

    public Bigram(ModelConfig config, ComputePlan? plan = null, IReadOnlyDictionary<string, Parameter>? shared = null) : base(plan, shared)
    {
        this.config = config;
        Shape = BigramFamily.ShapeOf(config);
        table = Parameters.Add("table.weight", Shape.VocabSize, Shape.Width);
        Head = new(new Linear("head", Parameters.Add("head.weight", Shape.VocabSize, Shape.Width)));
    }

    public override ModelShape Shape { get; }

    public override OutputHead Head { get; }

    public override string Architecture => "BigramForCausalLM";

    public override ModelConfig Configuration => config;

    public override Tensor Forward(PackedBatch batch) => table.index_select(0, batch.InputIds);

    protected override Tensor ForwardInto(PackedBatch batch, KeyValueCache cache) => Forward(batch);

    protected override Tensor DecodeStep(Tensor ids, long[] positions, int longest, KeyValueCache cache) => table.index_select(0, ids);

    public override void Initialize(long seed)
    {
        using var noGrad = no_grad();
        foreach (var (name, parameter) in Parameters)
            using (var values = arange(parameter.numel(), dtype: ScalarType.Float32).reshape(parameter.shape).add_(seed).mul_(0.37).sin_().mul_(0.1))
                parameter.copy_(values);
    }

    protected override CausalLM CreateLike(IReadOnlyDictionary<string, Parameter> shared) => new Bigram(config, Plan, shared);
}

/// <summary>How config.json describes such a model.</summary>
public sealed class BigramFamily : ModelFamily
{
    public override string ModelType => "bigram";

    public override ModelShape Shape(ModelConfig config) => ShapeOf(config);

    public override CausalLM CreateCausalLM(ModelConfig config, ComputePlan plan) => new Bigram(config, plan);

    public static ModelConfig Config(int vocabulary, int width) =>
        ModelConfig.Of(new JsonObject { ["model_type"] = "bigram", ["vocab_size"] = vocabulary, ["width"] = width });

    public static ModelShape ShapeOf(ModelConfig config)
    {
        int vocabulary = config.Root.Int("vocab_size", 0, 1, 1000), width = config.Root.Int("width", 0, 1, 1000);
        return new()
        {
            Layers = 1,
            Width = width,
            InnerWidth = width,
            Heads = 1,
            KeyValueHeads = 1,
            HeadSize = width,
            VocabSize = vocabulary,
            MaxPositions = 64,
            Parameters = 2L * vocabulary * width,
            LayerParameters = 0,
        };
    }
}
