using BenchmarkDotNet.Attributes;
using Rlhf.Generation;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Benchmarks;

/// <summary>The draw of one token from a row of logits.</summary>
[MemoryDiagnoser]
public class Sampler
{
    private readonly RandomStream random = new(0, "benchmark");
    private float[] logits = [];
    private double[] blockSums = [];

    [Params(8000, 50257)]
    public int Vocabulary { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        logits = [.. Enumerable.Range(0, Vocabulary).Select(_ => (float)(3 * random.NextGaussian()))];
        blockSums = new double[Categorical.BlockCount(Vocabulary)];
    }

    [Benchmark]
    public int Draw() => new Categorical(logits, blockSums).Draw(random.NextDouble());
}

/// <summary>The tokenizers of the models that ship, on a review of 100 sentences.</summary>
[MemoryDiagnoser]
public class Tokenizers
{
    private readonly string review = string.Concat(Enumerable.Range(0, 100).Select(i =>
        $"The {i}th scene isn't half as good as the film's beginning, but Åsa Öberg's acting (9/10!) saves it. "));

    private ITokenizer bpe = null!, wordPiece = null!;

    [GlobalSetup]
    public void Setup()
    {
        bpe = AutoTokenizer.FromPretrained(Models.Folder("imdb-gpt2-tiny"));
        wordPiece = AutoTokenizer.FromPretrained(Models.Folder("imdb-distilbert-tiny"));
    }

    [Benchmark]
    public int[] ByteLevelBpe() => bpe.Encode(review);

    [Benchmark]
    public int[] WordPiece() => wordPiece.Encode(review);
}

/// <summary>
/// Vocabularies of today's models, where RLHF_SHARED names a folder with tokenizers/NAME/tokenizer.json: how long one takes to load, and to
/// encode words that it has not met, beside a plain pass over the text's bytes.
/// </summary>
[MemoryDiagnoser]
public class RealTokenizers
{
    private static readonly string Folder = Path.Combine(Environment.GetEnvironmentVariable("RLHF_SHARED") ?? "", "tokenizers");

    private string text = "";
    private ITokenizer tokenizer = null!;

    public static IEnumerable<string> Names => Directory.Exists(Folder)
        ? Directory.EnumerateDirectories(Folder).Where(f => File.Exists(Path.Combine(f, "tokenizer.json")))
            .Select(f => Path.GetFileName(f)!).Order() : [];

    [ParamsSource(nameof(Names))]
    public string Name { get; set; } = "";

    /// <summary>A megabyte of made-up words by the letters' frequencies in English, with digits and punctuation: hardly one occurs twice.</summary>
    [GlobalSetup]
    public void Setup()
    {
        var random = new RandomStream(1, "benchmark");
        const string Letters = "etaoinshrdlcumwfgypbvketaoinetaoietae";
        var words = new System.Text.StringBuilder();
        while (words.Length < 1 << 20)
        {
            int length = random.NextInt32(2, 10);
            for (int i = 0; i < length; i++)
                words.Append(Letters[random.NextInt32(0, Letters.Length)]);
            words.Append(random.NextInt32(0, 12) switch { 0 => ", ", 1 => ".\n", 2 => $" {random.NextInt32(0, 3000)} ", _ => " " });
        }
        text = words.ToString();
        tokenizer = AutoTokenizer.FromPretrained(Path.Combine(Folder, Name));
    }

    [Benchmark(Baseline = true)]
    public int BytesOfTheText() => System.Text.Encoding.UTF8.GetBytes(text).Count(b => b == (byte)' ');

    [Benchmark]
    public int Encode() => tokenizer.Encode(text).Length;

    [Benchmark]
    public ITokenizer Load() => AutoTokenizer.FromPretrained(Path.Combine(Folder, Name));
}

/// <summary>The weights of the policy that ships, from disk cache to tensors.</summary>
[MemoryDiagnoser]
public class SafeTensorsLoad
{
    private readonly string file = Path.Combine(Models.Folder("imdb-gpt2-tiny"), "model.safetensors");

    [GlobalSetup]
    public void Setup() => LibTorch.Initialize();

    [Benchmark]
    public void Load()
    {
        foreach (var tensor in SafeTensors.Load(file).Values)
            tensor.Dispose();
    }
}

/// <summary>The models of this repository.</summary>
internal static class Models
{
    public static string Folder(string name)
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
            if (Directory.Exists(Path.Combine(at.FullName, "models", name)))
                return Path.Combine(at.FullName, "models", name);
        throw new DirectoryNotFoundException($"There is no models/{name} above {AppContext.BaseDirectory}; run from a clone of the repository.");
    }
}
