// Runs what rlhf export --format onnx wrote, without Rlhf and libtorch: a classifier or reward model by ONNX Runtime, a language model by
// ONNX Runtime GenAI (docs/ship-it.md).
//
//   dotnet run -c Release --project samples/OnnxInference -- score FOLDER TEXT...
//       logits of each text by a classifier or reward model whose tokenizer is BERT's (vocab.txt) or GPT-2's (vocab.json, merges.txt)
//   dotnet run -c Release --project samples/OnnxInference -- generate FOLDER PROMPT
//       the most likely text behind a prompt, by a language model
using System.Globalization;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Microsoft.ML.OnnxRuntimeGenAI;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
switch (args)
{
    case ["score", var folder, _, ..]:
        Score(folder, args[2..]);
        return 0;
    case ["generate", var folder, var prompt]:
        Generate(folder, prompt);
        return 0;
    default:
        Console.Error.WriteLine("OnnxInference score FOLDER TEXT... | generate FOLDER PROMPT");
        return 2;
}

static void Score(string folder, string[] texts)
{
    using var session = new InferenceSession(Path.Combine(folder, "model.onnx"));
    var about = session.ModelMetadata.CustomMetadataMap;
    string[] labels = JsonSerializer.Deserialize<string[]>(about["labels"])!;
    int most = int.Parse(about["max_length"]);
    int[][] rows = [.. texts.Select(Encoder(folder)).Select(ids => ids.Length <= most ? ids : ids[..most])];

    // Rows of one batch have one length; the mask says which tokens are padding, on whichever side it stands.
    int length = rows.Max(r => r.Length);
    DenseTensor<long> ids = new([rows.Length, length]), mask = new([rows.Length, length]);
    for (int b = 0; b < rows.Length; b++)
        for (int t = 0; t < rows[b].Length; t++)
            (ids[b, t], mask[b, t]) = (rows[b][t], 1);
    using var results = session.Run(
        [NamedOnnxValue.CreateFromTensor("input_ids", ids), NamedOnnxValue.CreateFromTensor("attention_mask", mask)]);
    var logits = results.Single().AsTensor<float>();
    for (int b = 0; b < rows.Length; b++)
        Console.WriteLine($"{string.Join("  ", labels.Select((label, i) => $"{label} {logits[b, i]:F4}"))}  {texts[b]}");
}

static Func<string, int[]> Encoder(string folder)
{
    string At(string name) => Path.Combine(folder, name);
    if (File.Exists(At("vocab.txt")))
    {
        bool lower = JsonDocument.Parse(File.ReadAllText(At("tokenizer_config.json"))).RootElement.TryGetProperty("do_lower_case", out var flag)
            && flag.GetBoolean();
        var bert = Microsoft.ML.Tokenizers.BertTokenizer.Create(
            At("vocab.txt"), new Microsoft.ML.Tokenizers.BertOptions { LowerCaseBeforeTokenization = lower });
        return text => [.. bert.EncodeToIds(text)];
    }
    var bytes = Microsoft.ML.Tokenizers.CodeGenTokenizer.Create(File.OpenRead(At("vocab.json")), File.OpenRead(At("merges.txt")));
    return text => [.. bytes.EncodeToIds(text)];
}

static void Generate(string folder, string prompt)
{
    using var model = new Model(folder);
    using var tokenizer = new Tokenizer(model);
    using var parameters = new GeneratorParams(model);
    using var encoded = tokenizer.Encode(prompt);
    parameters.SetSearchOption("do_sample", false);
    parameters.SetSearchOption("max_length", Math.Min(parameters.GetSearchNumber("max_length"), encoded[0].Length + 40));
    using var generator = new Generator(model, parameters);
    generator.AppendTokenSequences(encoded);
    using var stream = tokenizer.CreateStream();
    Console.Write(prompt);
    while (!generator.IsDone())
    {
        generator.GenerateNextToken();
        Console.Write(stream.Decode(generator.GetNextTokens()[0]));
    }
    Console.WriteLine();
}
