using Rlhf.Models;
using static TorchSharp.torch;

namespace Rlhf.Export.Gguf;

/// <summary>
/// One file for llama.cpp and the programs built on it (LLamaSharp, Ollama, LM Studio): weights, tokenizer and chat template; or an adapter
/// alone, which they put on its base's file.
/// </summary>
public sealed class GgufFormat : IExportFormat
{
    /// <summary>llama.cpp's numbers of what most of a file's weights are stored as (<c>general.file_type</c>).</summary>
    private static readonly Dictionary<GgufTensorType, uint> FileTypes = new()
    {
        [GgufTensorType.F32] = 0,
        [GgufTensorType.F16] = 1,
        [GgufTensorType.Q4_0] = 2,
        [GgufTensorType.Q4_1] = 3,
        [GgufTensorType.Q8_0] = 7,
        [GgufTensorType.BF16] = 32,
    };

    /// <inheritdoc/>
    public string Name => "gguf";

    /// <inheritdoc/>
    public string Summary => "one file for llama.cpp, LLamaSharp, Ollama and LM Studio, tokenizer and chat template included";

    /// <inheritdoc/>
    public string? FileExtension => ".gguf";

    /// <inheritdoc/>
    public IReadOnlyList<string> Types { get; } = ["f16", "f32", "bf16", "q8_0", "q4_0", "q4_1"];

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Options { get; } = [nameof(ExportOptions.AdapterOnly)];

    /// <inheritdoc/>
    public ExportResult Write(ExportSource source, string target, ExportOptions options)
    {
        ExportFormats.Check(this, options);
        var type = Enum.Parse<GgufTensorType>(ElementTypes.Of(this, options), ignoreCase: true);
        var config = ModelConfig.Read(source.Folder);
        var family = ModelFamilies.OfCausalLM(config);
        if (ExportedModel.IsClassifier(source.Folder, ExportedModel.StoredNames(source.Folder)))
            throw new InvalidDataException($"{source.Folder} is a classifier or reward model, which llama.cpp has no form for; GGUF holds language models.");
        return options.AdapterOnly ? GgufAdapter.Write(source, target, type, Map(family, config)) : WriteModel(source, target, type, family, config);
    }

    private ExportResult WriteModel(ExportSource source, string target, GgufTensorType type, ModelFamily family, ModelConfig config)
    {
        Map(family, config); // what cannot be said is said before gigabytes are read
        var tokenizer = ExportedModel.Tokenizer(source.Folder);
        var tokens = GgufTokenizer.Read(tokenizer, source.Folder, family.Shape(config).VocabSize, config.EosTokenIds);
        using var model = AutoModelForCausalLM.FromPretrained(source.Folder, ExportedModel.Plan(source.Folder));
        var map = Map(family, model.Configuration);

        var file = new GgufFile();
        GgufGeneral.Write(file, map.Architecture, "model", source);
        file.Set("general.size_label", GgufGeneral.SizeLabel(model.Parameters.ElementCount));
        file.Set("general.file_type", FileTypes[type]);
        if (type.IsQuantized())
            file.Set("general.quantization_version", 2u);
        foreach (var (key, value) in map.Metadata.Concat(tokens.Values))
            file.Set(key, value);
        foreach (var entry in map.Tensors)
        {
            var parameter = model.Parameters[entry.Parameter];
            long[] shape = entry.IsTransposed ? [.. parameter.shape.Reverse()] : parameter.shape;
            file.Add(entry.Name, shape, TypeOf(entry.Name, shape, type), () => Arranged(parameter, entry));
        }
        foreach (var (name, values) in map.Tables)
            file.Add(name, [values.Length], GgufTensorType.F32, () => tensor(values));
        long bytes = Save(file, target);
        string[] unquantized = file.Unquantized == 0 ? []
            : [$"{file.Unquantized} tensors are stored as f16: their rows are no multiple of {GgufTensorTypes.Block} numbers, which {Text(type)} needs."];
        return new(target, map.Architecture, model.Parameters.ElementCount, bytes, Text(type)) { Notes = [.. map.Notes, .. tokens.Notes, .. unquantized] };
    }

    /// <summary>The map of a family.</summary>
    /// <exception cref="InvalidDataException">llama.cpp has none for it, or does not do what the configuration asks for.</exception>
    private static GgufMap Map(ModelFamily family, ModelConfig config)
    {
        try
        {
            return family.Gguf(config);
        }
        catch (NotSupportedException e)
        {
            throw new InvalidDataException($"{config.Path}: {e.Message}", e);
        }
    }

    /// <summary>Writes the file; the folder that it lies in is made when it does not exist.</summary>
    internal static long Save(GgufFile file, string target)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(target))!);
        return file.Save(target);
    }

    /// <summary>The element type's name for people.</summary>
    internal static string Text(GgufTensorType type) => type.ToString().ToLowerInvariant();

    /// <summary>
    /// Norms, biases and positions are small and stay float32. Embedding and output layer suffer most from 4 bits and have 8 then.
    /// </summary>
    private static GgufTensorType TypeOf(string name, long[] shape, GgufTensorType type) =>
        shape.Length == 1 || name.StartsWith("position_embd.", StringComparison.Ordinal) ? GgufTensorType.F32
        : type is GgufTensorType.Q4_0 or GgufTensorType.Q4_1 && name is "token_embd.weight" or "output.weight" ? GgufTensorType.Q8_0
        : type;

    /// <summary>A parameter as llama.cpp has it.</summary>
    private static Tensor Arranged(Tensor parameter, GgufTensor tensor)
    {
        var arranged = parameter.detach();
        if (tensor.IsTransposed)
            arranged = arranged.t();
        return Arranged(arranged, tensor.Rows, tensor.Add, tensor.Scale);
    }

    /// <summary>Scale · (values + add), rows in another order.</summary>
    internal static Tensor Arranged(Tensor values, IReadOnlyList<int>? rows, double add, double scale)
    {
        if (rows is not null)
            values = values.index_select(0, tensor(rows.Select(r => (long)r).ToArray()));
        if (add != 0 || scale != 1)
            values = values.to(float32).add(add).mul(scale);
        return values;
    }
}
