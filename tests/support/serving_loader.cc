// Loads an export as TF Serving does, and asks it good and bad requests.
//
//     serving_loader EXPORT IMAGES COUNT FILE...
//
// IMAGES holds COUNT images as float32, in the shape of the endpoint `serving_default`; each FILE
// is an image file. Prints, for every request, "features ROWS COLUMNS" and the numbers, or
// "refused: " and the error in a line.

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <string>
#include <unordered_set>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session_options.h"

namespace {

using tensorflow::SavedModelBundle;
using tensorflow::Tensor;

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Request(const SavedModelBundle& bundle, const std::string& signature, const Tensor& input) {
  const auto& def = bundle.GetSignatures().at(signature);
  std::vector<Tensor> outputs;
  const auto status =
      bundle.session->Run({{def.inputs().begin()->second.name(), input}},
                          {def.outputs().at("features").name()}, {}, &outputs);
  if (!status.ok()) {
    const std::string message(status.message());
    std::cout << "refused: " << message.substr(0, message.find('\n')) << "\n";
    return;
  }
  const auto features = outputs[0].matrix<float>();
  std::cout << "features " << features.dimension(0) << " " << features.dimension(1) << "\n";
  for (int i = 0; i < features.size(); ++i) std::cout << features.data()[i] << "\n";
}

// COUNT images of the shape that the signature names.
Tensor Images(const SavedModelBundle& bundle, const std::string& path, int count) {
  const auto& info = bundle.GetSignatures().at("serving_default").inputs().at("images");
  tensorflow::TensorShape shape({count});
  for (int i = 1; i < 4; ++i) shape.AddDim(info.tensor_shape().dim(i).size());
  Tensor images(tensorflow::DT_FLOAT, shape);
  std::ifstream(path, std::ios::binary)
      .read(static_cast<char*>(images.data()), images.TotalBytes());
  return images;
}

Tensor Files(const std::vector<std::string>& contents) {
  const auto count = static_cast<int64_t>(contents.size());
  Tensor files(tensorflow::DT_STRING, tensorflow::TensorShape({count}));
  for (int i = 0; i < count; ++i) files.vec<tensorflow::tstring>()(i) = contents[i];
  return files;
}

Tensor Zeros(const tensorflow::TensorShape& shape) {
  Tensor zeros(tensorflow::DT_FLOAT, shape);
  zeros.flat<float>().setZero();
  return zeros;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  SavedModelBundle bundle;
  const auto status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
    return 1;
  }
  const Tensor images = Images(bundle, argv[2], std::atoi(argv[3]));
  std::vector<std::string> contents;
  for (int i = 4; i < argc; ++i) contents.push_back(Contents(argv[i]));
  std::cout << std::setprecision(9);
  Request(bundle, "serving_default", images);
  Request(bundle, "serving_bytes", Files(contents));
  Request(bundle, "serving_default", Zeros({1, 9, 9, 3}));
  Request(bundle, "serving_default", Zeros({0, 16, 16, 3}));
  Request(bundle, "serving_bytes", Files({"hello"}));
  Request(bundle, "serving_bytes", Files({}));
  Request(bundle, "serving_default", images);
  Request(bundle, "serving_bytes", Files(contents));
  return 0;
}
