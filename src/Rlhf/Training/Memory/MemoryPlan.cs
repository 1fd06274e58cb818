using System.Globalization;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using TorchSharp;

namespace Rlhf.Training.Memory;

/// <summary>Something that takes memory.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Arithmetic">How its bytes come about.</param>
/// <param name="Bytes">Its bytes.</param>
internal sealed record MemoryItem(string Name, string Arithmetic, long Bytes);

/// <summary>
/// What a run will need at its peak, from the sizes in config.json alone, so that a model too large for the machine is refused
/// before anything is loaded. Against measured peaks the sums are within about 10 % on the CPU (docs/reliability.md).
/// </summary>
/// <param name="Task">What is to be done with which model, for the message.</param>
/// <param name="Items">What takes memory.</param>
/// <param name="Remedies">What would need less: sentences that name settings.</param>
internal sealed record MemoryPlan(string Task, IReadOnlyList<MemoryItem> Items, string Remedies)
{
    // libtorch's code, the runtime, and what both keep for themselves.
    private const long ProgramBytes = 400L << 20;
    internal const int FloatBytes = 4;

    /// <summary>The sum, in bytes.</summary>
    public long TotalBytes => Items.Sum(i => i.Bytes);

    /// <summary>Supervised fine-tuning, or reward modeling.</summary>
    /// <param name="task">What is to be done with which model.</param>
    /// <param name="model">The model.</param>
    /// <param name="batchSize">Rows of a minibatch, for the advice.</param>
    /// <param name="rowLengths">Tokens of the rows of the largest minibatch; null where they are not known yet: then without them.</param>
    /// <param name="plan">Where and how the model computes.</param>
    /// <param name="predictsTokens">The loss is over the vocabulary.</param>
    public static MemoryPlan ForTraining(
        string task, ModelShape model, int batchSize, IReadOnlyCollection<int>? rowLengths, ComputePlan plan, bool predictsTokens)
    {
        List<MemoryItem> items = [Weights("weights", model.Parameters), Weights("gradients", model.Parameters), Moments(model.Parameters)];
        if (rowLengths is not null)
        {
            var activations = Activations(model, rowLengths, plan, training: true, model.Layers);
            items.AddRange([activations, Backward(model, rowLengths)]);
            if (predictsTokens)
                items.Add(Logits(model, rowLengths.Sum(l => (long)l)));
            else if (plan.Device.type == DeviceType.CPU)
                items.Add(new("holes in the heap", "texts of different lengths; nearly as much as the activations",
                    activations.Bytes / 10 * 9));
        }
        items.Add(Program);
        return new(task, items, $"Lower BatchSize (now {batchSize}; raise GradientAccumulationSteps by as much) or MaxLength, "
            + (model.IsCausal && !plan.RecomputesActivations ? "set RecomputeActivations, " : "") + "or take a smaller model.");
    }

    /// <summary>Models that are only read.</summary>
    /// <param name="task">What is to be done with which models.</param>
    /// <param name="models">The models.</param>
    public static MemoryPlan ForReading(string task, params IEnumerable<ModelShape> models) => new(task,
        [.. models.Select(m => Weights("weights", m.Parameters)), Program], "Take a smaller model.");

    /// <summary>The same, with what the weights are kept as.</summary>
    /// <param name="task">What is to be done with which models.</param>
    /// <param name="models">The models.</param>
    /// <param name="storage">What their weights are kept as.</param>
    public static MemoryPlan ForReading(string task, IEnumerable<ModelShape> models, BaseStorage storage) => new(task,
        [.. models.Select(m => Weights("weights", m.Parameters, storage)), Program], storage == BaseStorage.Int8 ? "Take a smaller model." : "Keep its weights in fewer bytes with BaseDtype, or take a smaller model.");

    /// <summary>The same training of an adapter: the base has neither gradients nor moments, the adapter has both.</summary>
    /// <param name="weights">The base's weights.</param>
    /// <param name="adapter">The adapter's.</param>
    /// <param name="storage">What the base's are kept as.</param>
    /// <param name="ownsReference">Is the reference a copy of the policy? It is not needed.</param>
    /// <param name="samples">Are answers sampled? Then with merged copies of the weights, unless they are kept in fewer bytes.</param>
    /// <param name="losesByToken">Is the loss a sum over tokens, whose logits a frozen output layer takes in smaller chunks?</param>
    internal MemoryPlan OfAdapter(long weights, long adapter, BaseStorage storage, bool ownsReference, bool samples, bool losesByToken = false) => this with
    {
        Items =
        [
            .. Items.Where(i => !(ownsReference && i.Name == "reference")).SelectMany(IEnumerable<MemoryItem> (i) => i.Name switch
            {
                "weights" or "policy" => [Weights(i.Name, weights, storage), Weights("adapter", adapter)],
                "gradients" => [Weights("the adapter's gradients", adapter)],
                "Adam's moments" => [Moments(adapter)],
                // Two tensors of half a chunk in place of three of a whole one.
                "logits" when losesByToken => [i with { Arithmetic = "of tokens in small chunks, two at a time", Bytes = i.Bytes / 3 }],
                _ => [i],
            }),
            .. samples && storage == BaseStorage.Float32 ? [Weights("merged copies for answers", weights)] : (MemoryItem[])[],
        ],
    };

    /// <summary>Refuses what does not fit.</summary>
    /// <param name="available">What is there, by <see cref="MachineMemory.Available"/>; null is not known, and refuses nothing.</param>
    /// <exception cref="ConfigurationException">More is needed than there is; the message shows the sum.</exception>
    public void ThrowIfTooLarge((long Bytes, string Where)? available)
    {
        if (available is var (bytes, where) && TotalBytes > bytes)
            throw new ConfigurationException([Describe(bytes, where)]);
    }

    private string Describe(long available, string where)
    {
        int width = Items.Max(i => i.Name.Length + i.Arithmetic.Length) + 6;
        var lines = Items.Select(i => $"    {$"{i.Name}: {i.Arithmetic}".PadRight(width)}{Gigabytes(i.Bytes),12}");
        return $"{Task} needs about {Gigabytes(TotalBytes)} of memory, and {Gigabytes(available)} are free {where}:\n"
            + string.Join('\n', lines) + $"\n  {Remedies} IgnoreMemory tries all the same.";
    }

    internal static MemoryItem Program => new("program", "libtorch and the runtime", ProgramBytes);

    internal static MemoryItem Weights(string name, long count, BaseStorage storage = BaseStorage.Float32)
    {
        int bytes = storage switch { BaseStorage.Int8 => 1, BaseStorage.Bfloat16 => 2, _ => FloatBytes };
        return new(name, $"{count:N0} × {bytes} byte{(bytes == 1 ? "" : "s")}", count * bytes);
    }

    internal static MemoryItem Moments(long count) => new("Adam's moments", $"{count:N0} × 2 × {FloatBytes} bytes", 2 * count * FloatBytes);

    internal static MemoryItem Activations(ModelShape model, IReadOnlyCollection<int> rows, ComputePlan plan, bool training, int layers) =>
        new("activations", $"{rows.Count:N0} rows, {rows.Sum(l => (long)l):N0} tokens × {layers} layers of width {model.Width:N0}",
            model.ActivationBytes(rows, plan, training, layers));

    internal static MemoryItem Backward(ModelShape model, IReadOnlyCollection<int> rows) =>
        new("backward pass", "one layer's gradients", model.BackwardBytes(rows));

    /// <summary>Three tensors of the head's chunk.</summary>
    internal static MemoryItem Logits(ModelShape model, long tokens)
    {
        long chunk = Math.Min(tokens, OutputHead.ChunkRows(model.VocabSize));
        return new("logits", $"{chunk:N0} tokens × {model.VocabSize:N0}, three at a time", 3 * chunk * model.VocabSize * FloatBytes);
    }

    private static string Gigabytes(long bytes) => (bytes / 1e9).ToString("N1", CultureInfo.InvariantCulture) + " GB";
}
