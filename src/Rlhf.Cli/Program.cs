using System.Diagnostics;
using Rlhf.Runtime;
using TorchSharp;
LibTorch.Initialize();
Console.WriteLine($"{torch.__version__} {torch.get_num_threads()}");
using var a = torch.randn(2048, 2048); using var b = torch.randn(2048, 2048);
for (int i = 0; i < 8; i++) { var w = Stopwatch.StartNew(); using var c = torch.mm(a, b); Console.WriteLine(2.0 * 2048 * 2048 * 2048 / w.Elapsed.TotalSeconds / 1e9); }
